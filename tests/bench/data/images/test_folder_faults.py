"""Tests of image folders: the fingerprint refuses faults that would silently change results."""

import os
import re
import unicodedata
from pathlib import Path

import pytest
from PIL import Image

from bench.data import catalogue
from bench.data.images import image_folder
from bench.data.images.image_folder import list_files
from bench.data.images.streaming import ImageStream
from bench.errors import UserError


def expect_error(words, root):
    """Compute the fingerprint, which every command needs first, and expect a one-line error."""
    with pytest.raises(UserError, match=words) as caught:
        catalogue.find_data_set(f"folder:{root}").fingerprint(None)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("empty", [True, False])
def test_val_needs_images_of_every_class(empty, pictures):
    def remove(name):
        for path in (pictures / "val" / name).iterdir():
            path.unlink()
        if not empty:
            (pictures / "val" / name).rmdir()

    remove("bee")
    expect_error(r"/val: contains no images of 1 of the 3 classes.*\('bee'\); add", pictures)
    remove("ant")
    expect_error(r"/val: contains no images of 2 of the 3 .*\('ant', 'bee'\)", pictures)
    for ask in (lambda: catalogue.load(f"folder:{pictures}", resolution=16),
                lambda: ImageStream(pictures, resolution=16, workers=0)):  # fmt: skip
        with pytest.raises(UserError, match="contains no images of 2"):
            ask()


@pytest.mark.parametrize("name", ["valid", "validation", "test", "dev", "Val", "VALIDATION"])
def test_val_under_another_name_is_found(name, pictures):
    (pictures / "val").rename(pictures / name)
    expect_error(rf"/val: no such folder; found {name}/; rename it to val/, or make a", pictures)
    (pictures / "val").symlink_to(name)
    assert len(list_files(pictures)) == 12


def test_several_other_names_are_shown(pictures):
    (pictures / "val").rename(pictures / "valid")
    (pictures / "train").rename(pictures / "Train")
    expect_error(r"/train: no such folder; found Train/; rename it to train/", pictures)
    (pictures / "Train").rename(pictures / "train")
    (pictures / "test" / "ant").mkdir(parents=True)
    expect_error(r"found test/, valid/; rename one of them to val/", pictures)


def test_a_test_folder_without_labels_is_no_validation_part(pictures):
    (pictures / "val").rename(pictures / "gone")
    (pictures / "test" / "all").mkdir(parents=True)
    Image.new("RGB", (20, 20)).save(pictures / "test" / "all" / "0.png")
    assert len(list_files(pictures)) == 6


@pytest.mark.parametrize("split", ["train", "val"])
def test_images_of_other_formats_are_not_left_out_in_silence(split, pictures):
    for name in ("x.gif", "y.JFIF", "z.svg", "z.dcm"):
        (pictures / split / "bee" / name).touch()
    (pictures / split / "ant" / "notes.txt").touch()
    expect_error(r"bee/x\.gif: \.gif images are not read \(one of 4 such files\); conv", pictures)
    for name in ("x.gif", "y.JFIF", "z.svg", "z.dcm"):
        (pictures / split / "bee" / name).rename(pictures / split / "bee" / f".{name}")
    assert len(list_files(pictures)) == 12


@pytest.mark.parametrize("place", ["", "train", "val"])
def test_a_folder_whose_entries_cannot_be_looked_up_is_named(place, pictures, monkeypatch):
    """Let os.stat raise the error of a folder without permission, because root may look up all."""
    look_up = os.stat

    def refuse(path, **how):
        if (pictures / place) in Path(os.fspath(path)).parents:
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return look_up(path, **how)

    monkeypatch.setattr(os, "stat", refuse)
    shown = re.escape(str(pictures / place))
    expect_error(rf"{shown}/\S+: cannot be read \(Permission denied\); change", pictures)


@pytest.mark.parametrize("root", ["x" * 300, "/".join(["folder"] * 1000)])
@pytest.mark.parametrize("data", ["folder:{}", "cifar10"])
def test_a_path_that_is_too_long_is_named(root, data, tmp_path):
    with pytest.raises(UserError, match=r"cannot be read \(File name too long\); give a shorter"):
        catalogue.find_data_set(data.format(tmp_path / root)).fingerprint(tmp_path / root)


def test_names_that_only_look_the_same_are_explained(pictures):
    for split, form in (("train", "NFC"), ("val", "NFD")):
        (pictures / split / "ant").rename(pictures / split / unicodedata.normalize(form, "né"))
    expect_error("this class is missing in train/, where the name looks the same", pictures)


@pytest.mark.parametrize("memory", [0, 2**30])
def test_a_limit_leaves_an_image_of_every_class(memory, pictures, monkeypatch):
    monkeypatch.setattr(image_folder, "MEMORY", memory)
    with pytest.raises(UserError, match=r"--train-limit 2 leaves 1 of the 3 classes .*least 3"):
        catalogue.open_stream(f"folder:{pictures}", resolution=16, train_limit=2)
    catalogue.open_stream(f"folder:{pictures}", resolution=16, train_limit=3)
