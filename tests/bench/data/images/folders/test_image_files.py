"""Tests of image folders: images that would be skipped are refused, and other files ignored."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.data import catalogue
from bench.data.images.image_folder import list_files
from bench.errors import UserError


@pytest.mark.parametrize("name", ["x", "x.bin", "x.png.1", "x.jpg?w=200"])
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP", "BMP", "GIF", "ICO", "JPEG2000"])
def test_images_without_a_known_extension_are_refused(name, kind, pictures, expect_error):
    Image.new("RGB", (20, 20)).save(pictures / "train" / "bee" / name, format=kind)
    expect_error(r"bee/x\S*: (\S+ )?images.* are not read; convert them to .png or .jpg", pictures)


def test_arrays_are_refused_and_other_files_are_ignored(pictures, expect_error):
    bee = pictures / "train" / "bee"
    for name in ("Thumbs.db", "README", "labels.json", "0.txt", "boxes.bin", "empty"):
        (bee / name).write_bytes(b"\xd0\xcf\x11\xe0" * (name != "empty"))
    (bee / "link.bin").symlink_to(bee / "Thumbs.db")
    assert len(list_files(pictures)) == 12
    np.save(bee / "x.npy", np.zeros(3))
    expect_error(r"x\.npy: \.npy images are not read; convert", pictures)


def test_notes_that_accompany_images_are_not_opened(pictures, monkeypatch):
    (pictures / "train" / "bee" / "0.json").write_text("{}")
    monkeypatch.setattr(Path, "open", lambda *_, **__: pytest.fail("a file was opened"))
    assert len(list_files(pictures)) == 12


@pytest.mark.parametrize(
    "name",
    ["#recycle", "@Recycle", "@eaDir", "$RECYCLE.BIN", "$Recycle.Bin", "System Volume Information",
     "#snapshot", "lost+found"],
)  # fmt: skip
def test_recycle_bins_are_no_classes(name, pictures):
    for place in ("train", "val", "train/ant"):
        (pictures / place / name).mkdir()
        Image.new("RGB", (20, 20)).save(pictures / place / name / "0.png")
    assert len(list_files(pictures)) == 12


@pytest.mark.parametrize("place", ["", "data"])
def test_parquet_files_are_named(place, tmp_path, expect_error):
    (tmp_path / place).mkdir(exist_ok=True)
    (tmp_path / place / "train-00000-of-00001.parquet").touch()
    expect_error(r"found (data/)?train-00000-of-00001\.parquet; a folder of images", tmp_path)


def test_the_cause_of_an_unreadable_image_is_named(pictures):
    path = pictures / "train" / "ant" / "0.png"
    for content, words in (
        (b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS; fetch"),
        (b"\0\0\0\x18ftypheic" + bytes(99), "a HEIC, AVIF or MP4 file of the type 'heic'"),
        (b"", "the file is empty"),
    ):
        path.write_bytes(content)
        with pytest.raises(UserError, match=words):
            catalogue.load(f"folder:{pictures}", resolution=16)
