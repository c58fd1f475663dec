"""Tests of the names and contents of tar shards: each split has its own, and faults are named."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image

from bench.data import catalogue
from bench.data.images import image_folder
from bench.data.images.shards.shard_files import find_shards
from bench.errors import UserError


def write_shard(path: Path, labels: Sequence[int] = (0, 1), kind: str = "png") -> Path:
    """Write a shard with one image per label."""
    pixels = io.BytesIO()
    Image.new("RGB", (20, 20)).save(pixels, "PNG")
    path.parent.mkdir(parents=True, exist_ok=True)
    key = path.stem.replace(".", "-")  # a key ends at the first dot
    with tarfile.open(path, "w") as archive:
        for number, label in enumerate(labels):
            for name, content in (
                (f"{key}{number}.{kind}", pixels.getvalue()),
                (f"{key}{number}.cls", str(label).encode()),
            ):
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
    return path


def expect_error(words: str, root: Path) -> None:
    """Compute the fingerprint, which every command needs first, and expect a one-line error."""
    with pytest.raises(UserError, match=words) as caught:
        catalogue.find_data_set(f"folder:{root}").fingerprint(None)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("train", "val"),
    [
        ("medieval-train-0.tar", "medieval-val-0.tar"),
        ("retrieval_train_00.tar", "retrieval_validation_00.tar"),
        ("carnival.train0.tar", "carnival.val0.tar"),
        ("strained-train.tar", "strained-valid.tar"),
        ("TRAIN-0.tar", "VAL-0.TAR"),
        ("imagenet1k-train-0000.tar", "eval-0000.tar"),
    ],
)
def test_each_split_has_the_shards_that_are_named_after_it(
    tmp_path: Path, train: str, val: str
) -> None:
    files = {"train": write_shard(tmp_path / train), "val": write_shard(tmp_path / val)}
    for split, file in files.items():
        assert find_shards(tmp_path, split) == [file]
    assert len(image_folder.list_files(tmp_path)) == 4


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["train-val-0.tar"], r"train-val-0\.tar: its name contains both train and val"),
        (["train-0.tar", "val.from.train.tar"], r"val\.from\.train\.tar: its name contains both"),
        (["trainval-0.tar", "val-0.tar"], r"train: no such folder; found trainval-0\.tar; put"),
        (["train-0.tar.gz"], r"train: no such folder; found train-0\.tar\.gz; shards"),
        (
            ["train/0.tgz", "train/1.tgz"],
            r"train: contains no class.*found 0\.tgz, 1\.tgz; shards",
        ),
        (
            ["train-0.tar", "val-0.tar.zst"],
            r"val: no such folder; found val-0\.tar\.zst; shards",
        ),
        (["train/0.tar", "test/0.tar"], r"val: no such folder; found test/; rename it to val/"),
    ],
)
def test_a_wrong_name_is_found_at_the_first_look(
    tmp_path: Path, names: list[str], words: str
) -> None:
    for name in names:
        write_shard(tmp_path / name)
    expect_error(words, tmp_path)


def test_folders_of_operating_systems_beside_shards_are_left_out(tmp_path: Path) -> None:
    for split in ("train", "val"):
        shard = write_shard(tmp_path / split / "0.tar")
        for name in ("@eaDir", "__MACOSX", "lost+found", ".cache"):
            (tmp_path / split / name).mkdir()
        assert find_shards(tmp_path, split) == [shard]


@pytest.mark.parametrize("split", ["train", "val"])
def test_shards_without_samples_are_named(tmp_path: Path, split: str) -> None:
    for name in ("train-0.tar", "val-0.tar"):
        write_shard(tmp_path / name)
    write_shard(tmp_path / f"{split}-1.tar", [])
    assert len(image_folder.list_files(tmp_path)) == 4  # the split has samples in its other shard
    write_shard(tmp_path / f"{split}-0.tar", [])
    expect_error(rf"{split}-0\.tar: contains no samples \(like all 2 {split} shards\)", tmp_path)


def test_validation_shards_need_samples_of_every_class(tmp_path: Path) -> None:
    write_shard(tmp_path / "train-0.tar", [0, 1, 2])
    for labels, words in (([0, 2], r"1 of the 3 .*\('1'\)"), ([1], r"2 of the 3 .*\('0', '2'\)")):
        write_shard(tmp_path / "val-0.tar", labels)
        expect_error(f"contains no images of {words}; add", tmp_path)


@pytest.mark.parametrize("kind", ["gif", "jfif"])
def test_a_sample_whose_image_is_not_read_is_named_with_its_file(tmp_path: Path, kind: str) -> None:
    write_shard(tmp_path / "train-0.tar", range(9), kind)
    expect_error(rf"sample train-00 has no image \(\.jpg.*only train-00\.{kind}; conv", tmp_path)


def test_a_huge_label_is_refused_at_once(tmp_path: Path) -> None:
    write_shard(tmp_path / "train-0.tar", [0, 1, 99_999_999_999])
    write_shard(tmp_path / "val-0.tar")
    expect_error("the training shards contain no sample of class 2; add", tmp_path)


def write_nested(path: Path, classes: Sequence[str], folders: Sequence[str]) -> None:
    """Write a shard with one image per folder, labelled by the folder's place in `classes`."""
    pixels = io.BytesIO()
    Image.new("RGB", (20, 20)).save(pixels, "PNG")
    with tarfile.open(path, "w") as archive:
        for folder in folders:
            label = str(classes.index(folder)).encode()
            for kind, content in (("png", pixels.getvalue()), ("cls", label)):
                entry = tarfile.TarInfo(f"{folder}/{path.stem}.{kind}")
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))


def test_splits_that_number_the_classes_differently_are_refused(tmp_path: Path) -> None:
    write_nested(tmp_path / "train-0.tar", ["ant", "bee"], ["ant", "bee"])
    write_nested(tmp_path / "val-0.tar", ["bee", "ant"], ["ant", "bee"])
    expect_error(r"bee/val-0\.png: its label is 0, which means 'ant' in the training", tmp_path)
    write_nested(tmp_path / "val-0.tar", ["ant", "bee"], ["ant", "bee"])
    assert len(image_folder.list_files(tmp_path)) == 4


def test_folders_that_do_not_name_classes_are_free(tmp_path: Path) -> None:
    """Accept folders "0" and "1" that are parts of a split, because the labels name the classes."""
    write_nested(tmp_path / "train-0.tar", ["1", "0"], ["0", "1"])
    write_nested(tmp_path / "val-0.tar", ["0", "1"], ["0", "1"])
    assert len(image_folder.list_files(tmp_path)) == 4
