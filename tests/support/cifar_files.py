"""Small CIFAR files of random images, in the formats of the Hugging Face hub and torchvision."""

from __future__ import annotations

import hashlib
import io
import pickle
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from torchvision.datasets import CIFAR10, CIFAR100

from bench.errors import UserError

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def draw_images(count: int, seed: int = 0) -> np.ndarray:
    """Return uint8 noise (count, 32, 32, 3)."""
    shape = (count, 32, 32, 3)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def encode(pixels: np.ndarray) -> bytes:
    """Return pixels (H, W, 3) or (H, W) as PNG."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def write_table(
    path: Path, images: Sequence[bytes | None], **columns: Sequence[int | None]
) -> Path:
    """Write a parquet file with encoded images and integer columns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [{"bytes": content, "path": "x.png"} for content in images]
    arrays = {name: pa.array(values, pa.int64()) for name, values in columns.items()}
    pq.write_table(pa.table({"img": pa.array(rows, IMAGE), **arrays}), path)
    return path


def write_cifar10(folder: Path, train: int = 200, test: int = 30) -> Path:
    """Write random images in the format of uoft-cs/cifar10 to `folder`, and return `folder`.

    train, test: number of images. The labels are 0 to 9 in turn.
    """
    for split, count, seed in (("train", train, 0), ("test", test, 1)):
        images = [encode(pixels) for pixels in draw_images(count, seed)]
        path = folder / "plain_text" / f"{split}-00000-of-00001.parquet"
        write_table(path, images, label=[i % 10 for i in range(count)])
    return folder


def write_pickles(root: Path, monkeypatch: pytest.MonkeyPatch, name: str = "cifar10") -> Path:
    """Write random images in torchvision's format, and patch the checksums that it expects.

    Each file has 20 images. Their labels are 0 to 9 in turn. Return the folder of the files.
    name: "cifar10" or "cifar100".
    """
    reader: Any = {"cifar10": CIFAR10, "cifar100": CIFAR100}[name]
    folder = root / str(reader.base_folder)
    folder.mkdir(parents=True)
    key = "labels" if name == "cifar10" else "fine_labels"

    def write(file: str, seed: int) -> list[str]:
        rows = draw_images(20, seed).transpose(0, 3, 1, 2).reshape(20, 3072)
        content = pickle.dumps({"data": rows, key: [i % 10 for i in range(20)]})
        (folder / file).write_bytes(content)
        return [file, hashlib.md5(content).hexdigest()]

    for part, first in (("train_list", 0), ("test_list", 100)):
        files = [file for file, _ in getattr(reader, part)]
        listed = [write(file, first + number) for number, file in enumerate(files)]
        monkeypatch.setattr(reader, part, listed)
    meta = pickle.dumps({reader.meta["key"]: [str(i) for i in range(10)]})
    (folder / reader.meta["filename"]).write_bytes(meta)
    listed_meta = {**reader.meta, "md5": hashlib.md5(meta).hexdigest()}
    monkeypatch.setattr(reader, "meta", listed_meta)
    return folder


def catch_line(act: Callable[[], object]) -> str:
    """Return the message of the UserError that `act` raises. Assert that it is a single line."""
    with pytest.raises(UserError) as caught:
        act()
    assert "\n" not in str(caught.value)
    return str(caught.value)
