"""CIFAR in the format of the Hugging Face hub: the parquet files of uoft-cs/cifar10 and cifar100.

A row contains an encoded image and its label. A split consists of one or more files (shards), for
example train-00000-of-00001.parquet. The rows of the shards follow each other in the order of the
file names.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from bench.data.interface.hub_shards import find_shard_fault, sort_shards
from bench.errors import UserError, summarise_error
from bench.files import get_utf8_path

if TYPE_CHECKING:
    import pyarrow as pa

Split = Literal["train", "test"]

SIDE = 32  # pixels
FOLDERS = {"cifar10": "plain_text", "cifar100": "cifar100"}
LABELS = {"cifar10": "label", "cifar100": "fine_label"}  # columns
CLASSES = {"cifar10": 10, "cifar100": 100}
ROWS = 1024  # decoded at a time


@dataclass(frozen=True)
class HubFiles:
    """Files of one data set in the hub's format.

    folder: the folder that contains the parquet files.
    """

    name: str
    folder: Path

    @classmethod
    def find(cls, name: str, place: Path) -> HubFiles | None:
        """Return the files in a folder, or None if it contains none."""
        folder = place / FOLDERS[name]
        return cls(name, folder) if _list_parquet(folder) else None

    @classmethod
    def find_without_folder(cls, name: str, place: Path) -> HubFiles | None:
        """Return the files in a folder or in its subfolder data/.

        Return None if there are none, or if they belong to another data set.

        Without a folder named like the data set, only the columns tell CIFAR-10 and CIFAR-100
        apart.
        """
        for folder in (place, place / "data"):
            if (paths := _list_parquet(folder)) and _has_columns(paths[0], LABELS[name]):
                return cls(name, folder)
        return None

    def count_train_samples(self) -> int:
        """Return the number of training images that the metadata of the files state.

        Raises UserError for a missing or damaged file.
        """
        import pyarrow.parquet as pq

        total = 0
        for path in self.list_shards("train"):
            with _explain_damage(path):
                total += pq.read_metadata(path).num_rows
        return total

    def identify_contents(self) -> str:
        """Return the SHA-256 of each file; run ids depend on this text.

        The test files may be missing, because validation runs do not read them. The same images in
        different shards or in a different encoding give a different text. Raises UserError for an
        unreadable file.
        """
        lines = []
        for split in ("train", "test"):
            if split == "test" and not any(self.folder.glob("test-*.parquet")):
                continue
            for path in self.list_shards(split):
                with _explain_damage(path), path.open("rb") as file:
                    lines.append(f"{split} {hashlib.file_digest(file, 'sha256').hexdigest()}\n")
        return "".join(lines)

    def list_shards(self, split: Split) -> list[Path]:
        """Return the files of a split in the order of their rows.

        Raises UserError if a shard is missing or there twice.
        """
        paths = sort_shards([*self.folder.glob(f"{split}-*.parquet")])
        if not paths:
            raise UserError(
                f"{self.name}: {self.folder} contains no {split}-*.parquet; download it from "
                f"uoft-cs/{self.name}"
            )
        if fault := find_shard_fault(paths):
            raise UserError(
                f"{self.name}: in {self.folder} (files of uoft-cs/{self.name}), {fault}"
            )
        return paths

    def read(self, split: Split) -> tuple[Tensor, Tensor]:
        """Return the uint8 images (N, 3, 32, 32) and int64 labels (N,) of a split.

        Raises UserError for a missing or damaged file, and for a row that is no image of CIFAR.
        """
        shards = [self._read_shard(path) for path in self.list_shards(split)]
        images = np.concatenate([images for images, _ in shards])
        labels = np.concatenate([labels for _, labels in shards])
        if not len(labels):
            raise UserError(f"{self.name}: {self.folder} contains no images in its {split} split")
        if split == "train" and (labels == labels[0]).all():
            raise UserError(
                f"{self.name}: all training images in {self.folder} are of class {labels[0]}; give "
                "files with at least two classes"
            )
        pixels = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()
        return pixels, torch.from_numpy(labels)

    def _read_shard(self, path: Path) -> tuple[np.ndarray, np.ndarray]:
        """Return the uint8 images (N, 32, 32, 3) and int64 labels (N,) of a file."""
        import pyarrow.parquet as pq

        column, classes = LABELS[self.name], CLASSES[self.name]
        images = [np.empty((0, SIDE, SIDE, 3), np.uint8)]
        labels = [np.empty(0, np.int64)]
        done = 0
        with (
            _explain_damage(path),
            get_utf8_path(path) as place,
            pq.ParquetFile(place, page_checksum_verification=True) as file,
        ):
            _check_columns(path, file.schema_arrow, column)
            for batch in file.iter_batches(ROWS, columns=["img.bytes", column]):
                labels.append(_convert_labels(path, done, batch.column(column), classes))
                contents = batch.column("img").flatten()[0].to_pylist()
                images.append(np.stack([
                    _decode(path, done + row, content) for row, content in enumerate(contents)
                ]))  # fmt: skip
                done += len(contents)
        return np.concatenate(images), np.concatenate(labels)


def _list_parquet(folder: Path) -> list[Path]:
    return [path for name in ("train", "test") for path in sorted(folder.glob(f"{name}-*.parquet"))]


def _has_columns(path: Path, label: str) -> bool:
    """Return whether a file has the columns of CIFAR; False for a damaged file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with get_utf8_path(path) as place:
            return {"img", label} <= set(pq.read_schema(place).names)
    except (pa.ArrowException, OSError):
        return False


@contextmanager
def _explain_damage(path: Path) -> Iterator[None]:
    """Raise UserError with the path for an error of pyarrow or of the file system."""
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise UserError(
            f"{path}: cannot be read ({summarise_error(error)}); check its permissions, or "
            "download it again if it is truncated or damaged"
        ) from None


def _check_columns(path: Path, schema: pa.Schema, label: str) -> None:
    """Raise UserError unless the file has a column img with encoded images, and integer labels."""
    import pyarrow as pa

    missing = [name for name in ("img", label) if schema.get_field_index(name) < 0]
    if missing:
        raise UserError(
            f"{path}: has no column {missing[0]!r}; its columns are {', '.join(schema.names)}"
        )
    image = schema.field("img").type
    index = image.get_field_index("bytes") if pa.types.is_struct(image) else -1
    if index < 0 or not _is_binary(image.field(index).type):
        raise UserError(
            f"{path}: the column 'img' has the type {image}; it must be a struct with `bytes`, "
            "the encoded image"
        )
    if not pa.types.is_integer(schema.field(label).type):
        raise UserError(
            f"{path}: the column {label!r} has the type {schema.field(label).type}; it must hold "
            "integers"
        )


def _is_binary(kind: pa.DataType) -> bool:
    """Return whether values are bytes, in any of the layouts that Arrow has for them."""
    import pyarrow as pa

    kinds = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view)
    return any(is_kind(kind) for is_kind in kinds)


def _convert_labels(path: Path, start: int, column: Any, classes: int) -> np.ndarray:
    """Return the labels of a batch as int64 (N,).

    start: number of the first row. Raises UserError for a label that is null or out of range.
    """
    for row, label in enumerate(column.to_pylist(), start):
        if label is None or not 0 <= label < classes:
            raise UserError(
                f"{path}, row {row} (counted from 0): the label {label} is not one of 0 to "
                f"{classes - 1}; download the file again"
            )
    return np.asarray(column, dtype=np.int64)


def _decode(path: Path, row: int, content: bytes | None) -> np.ndarray:
    """Return an encoded image as uint8 (32, 32, 3). Raises UserError with its row."""
    try:
        if content is None:
            raise ValueError("the row has no bytes")
        with Image.open(io.BytesIO(content)) as image:
            image.verify()  # checksums of PNG, which decoding ignores
        with Image.open(io.BytesIO(content)) as image:
            if image.size != (SIDE, SIDE) or image.mode != "RGB":
                size = f"{image.width} × {image.height} pixels in mode {image.mode}"
                raise ValueError(f"{size} instead of {SIDE} × {SIDE} in mode RGB")
            return np.asarray(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(
            f"{path}, row {row} (counted from 0): not a readable image of CIFAR "
            f"({summarise_error(error)}); download the file again"
        ) from None
