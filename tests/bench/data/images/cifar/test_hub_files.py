"""CIFAR in the hub's format: shards, metadata, and one line for each kind of damage."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from bench.data import catalogue
from bench.data.images.cifar.hub_files import HubFiles
from bench.errors import UserError
from tests.support.cifar_files import (
    catch_line,
    draw_images,
    encode,
    write_cifar10,
    write_table,
)

PNG = [encode(pixels) for pixels in draw_images(4)]


def read(
    folder: Path, split: Literal["train", "test"] = "train"
) -> tuple[torch.Tensor, torch.Tensor]:
    files = HubFiles.find("cifar10", folder)
    assert files
    return files.read(split)


def write_shards(root: Path, count: int, images: Sequence[bytes] = PNG * 3) -> Path:
    """Write rows with these images to `count` shards of equal size, and return the root."""
    size = len(images) // count
    for number in range(count):
        rows = range(number * size, (number + 1) * size)
        name = f"train-{number:05}-of-{count:05}.parquet"
        write_table(
            root / "plain_text" / name, [images[i] for i in rows], label=[i % 10 for i in rows]
        )
    return root


def test_the_images_and_labels_are_those_that_were_written(tmp_path: Path) -> None:
    images, labels = read(write_cifar10(tmp_path))
    assert torch.equal(images, torch.from_numpy(draw_images(200)).permute(0, 3, 1, 2))
    assert labels.tolist() == [i % 10 for i in range(200)]
    assert (images.dtype, labels.dtype) == (torch.uint8, torch.int64)


def test_a_folder_whose_name_is_not_utf_8_is_read(tmp_path: Path) -> None:
    folder = write_cifar10(tmp_path / "cifar").rename(tmp_path / os.fsdecode(b"caf\xe9"))
    assert len(read(folder)[0]) == 200


def test_cifar100_is_read_with_its_fine_labels(tmp_path: Path) -> None:
    path = tmp_path / "cifar100" / "test-00000-of-00001.parquet"
    write_table(path, PNG, fine_label=[99, 0, 7, 8], coarse_label=[1, 1, 1, 1])
    files = HubFiles.find("cifar100", tmp_path)
    assert files
    assert files.read("test")[1].tolist() == [99, 0, 7, 8]


@pytest.mark.parametrize("kind", [pa.large_binary(), pa.binary_view()])
def test_images_are_read_in_every_layout_of_bytes(kind: pa.DataType, tmp_path: Path) -> None:
    path = write_cifar10(tmp_path, train=20) / "plain_text" / "train-00000-of-00001.parquet"
    before = read(tmp_path)[0]
    table = pq.read_table(path)
    contents = [row["bytes"] for row in table["img"].to_pylist()]
    column = pa.StructArray.from_arrays([pa.array(contents, kind)], ["bytes"])
    pq.write_table(pa.table({"img": column, "label": table["label"]}), path)
    assert pq.read_schema(path).field("img").type.field("bytes").type == kind
    assert torch.equal(read(tmp_path)[0], before)


def test_a_single_class_is_an_error(tmp_path: Path) -> None:
    path = write_cifar10(tmp_path) / "plain_text" / "train-00000-of-00001.parquet"
    write_table(path, PNG, label=[3] * 4)
    assert "are of class 3; give files with at least two" in catch_line(lambda: read(tmp_path))


def test_shards_are_read_in_the_order_of_their_names(tmp_path: Path) -> None:
    whole = read(write_shards(tmp_path / "whole", 1))
    parts = read(write_shards(tmp_path / "parts", 3))
    assert torch.equal(parts[0], whole[0])
    assert parts[1].tolist() == whole[1].tolist() == [*range(10), 0, 1]


def test_a_missing_or_foreign_shard_is_an_error(tmp_path: Path) -> None:
    folder = write_shards(tmp_path, 3) / "plain_text"
    (folder / "train-00001-of-00003.parquet").rename(tmp_path / "kept")
    line = catch_line(lambda: read(tmp_path))
    assert "train-00001-of-00003 is missing; download" in line
    (tmp_path / "kept").rename(folder / "train-00001-of-00003.parquet")
    read(tmp_path)
    write_table(folder / "train-00000-of-00001.parquet", PNG, label=[0] * 4)
    assert "state different numbers of shards; remove" in catch_line(lambda: read(tmp_path))


def test_the_facts_come_from_metadata_and_not_from_images(tmp_path: Path) -> None:
    write_shards(tmp_path, 3, [b"no image"] * 12)
    assert catalogue.describe("cifar10", tmp_path).train_samples == 12


def test_the_fingerprint_follows_the_bytes_of_the_files_alone(tmp_path: Path) -> None:
    def hash_below(folder: Path) -> str:
        return catalogue.find_data_set("cifar10").fingerprint(folder)

    one, same = write_cifar10(tmp_path / "one"), write_cifar10(tmp_path / "same" / "cifar10")
    before = hash_below(one)
    assert hash_below(same.parent) == before
    assert hash_below(write_cifar10(tmp_path / "fewer", train=199)) != before
    test = one / "plain_text" / "test-00000-of-00001.parquet"
    write_table(test, PNG, label=[0, 1, 2, 3])
    changed = hash_below(one)
    assert changed != before
    test.unlink()  # validation runs do not need it
    assert hash_below(one) not in (before, changed)


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (lambda path: write_table(path, PNG), ["no column 'label'", "columns are img"]),
        (
            lambda path: pq.write_table(pa.table({"label": [1]}), path),
            ["no column 'img'", "columns are label"],
        ),
        (
            lambda path: pq.write_table(pa.table({"img": PNG[:1], "label": [1]}), path),
            ["'img' has the type binary", "struct"],
        ),
        (
            lambda path: pq.write_table(
                pa.table({"img": [{"bytes": PNG[0]}], "label": ["frog"]}), path
            ),
            ["'label' has the type string", "integers"],
        ),
        (lambda path: write_table(path, PNG, label=[0, 1, 10, 3]), ["row 2", "label 10", "0 to 9"]),
        (lambda path: write_table(path, PNG, label=[0, -1, 2, 3]), ["row 1", "label -1"]),
        (
            lambda path: write_table(path, PNG[:1] * 1100, label=[0] * 1099 + [10]),
            ["row 1099", "label 10"],
        ),
        (lambda path: write_table(path, PNG, label=[0, 1, 2, None]), ["row 3", "label None"]),
        (
            lambda path: write_table(
                path, [PNG[0], encode(np.zeros((32, 33, 3), np.uint8))], label=[0, 1]
            ),
            ["row 1", "33 × 32 pixels", "instead of 32 × 32"],
        ),
        (
            lambda path: write_table(path, [encode(np.zeros((32, 32), np.uint8))], label=[0]),
            ["row 0", "mode L"],
        ),
        (lambda path: write_table(path, [PNG[0], None], label=[0, 1]), ["row 1", "no bytes"]),
        (lambda path: write_table(path, [PNG[0][:900]], label=[0]), ["row 0", "not a readable"]),
        (lambda path: write_table(path, [], label=[]), ["contains no images"]),
        (lambda path: path.write_bytes(b""), ["cannot be read", "damaged"]),
        (lambda path: path.write_text("<html>Not found</html>"), ["cannot be read"]),
        (lambda path: path.mkdir(), ["cannot be read"]),
    ],
)
def test_the_error_for_a_bad_file_is_one_line_that_names_it(
    write: Callable[[Path], object], words: list[str], tmp_path: Path
) -> None:
    path = write_cifar10(tmp_path) / "plain_text" / "train-00000-of-00001.parquet"
    path.unlink()
    write(path)
    line = catch_line(lambda: read(tmp_path))
    assert str(path.parent) in line
    assert all(word in line for word in words), line


def test_a_truncated_file_is_reported_by_every_reader(tmp_path: Path) -> None:
    path = write_cifar10(tmp_path) / "plain_text" / "train-00000-of-00001.parquet"
    path.write_bytes(path.read_bytes()[:-100])
    for act in (
        lambda: catalogue.describe("cifar10", tmp_path),
        lambda: catalogue.load("cifar10", resolution=32, root=tmp_path),
    ):
        assert f"{path}: cannot be read" in catch_line(act)


def test_changed_bytes_at_the_end_of_an_image_are_detected(tmp_path: Path) -> None:
    """Change bytes near the end of a PNG.

    Decoding alone accepts some of them, because it does not verify the checksum of a PNG.
    """
    ramp = np.add.outer(4 * np.arange(32), 3 * np.arange(32))[:, :, None] + draw_images(1)[0] // 16
    whole = encode(ramp.astype(np.uint8))
    for place in range(len(whole) - 80, len(whole) - 20):
        damaged = bytearray(whole)
        damaged[place] ^= 0x10
        path = tmp_path / "plain_text" / "train-00000-of-00001.parquet"
        write_table(path, [bytes(damaged)], label=[0])
        assert "row 0 (counted from 0): not a readable image" in catch_line(lambda: read(tmp_path))


def test_a_changed_byte_is_an_error_or_leaves_the_images_unchanged(tmp_path: Path) -> None:
    path = write_cifar10(tmp_path, train=20) / "plain_text" / "train-00000-of-00001.parquet"
    whole, good = path.read_bytes(), read(tmp_path)[0]
    errors = 0
    for place in np.random.default_rng(0).integers(0, len(whole), 60).tolist():
        damaged = bytearray(whole)
        damaged[place] ^= 0x55
        path.write_bytes(damaged)
        try:
            images, _ = read(tmp_path)
        except UserError:
            errors += 1
        else:  # the byte is not part of an image
            assert torch.equal(images, good)
    assert errors > 40
