"""CIFAR-10 and CIFAR-100, read from a local folder in one of two file formats.

Python format: torchvision's folders cifar-10-batches-py/ and cifar-100-python/. Loading verifies
the published MD5 checksums.

Zip format: cifar10_train*.zip and cifar10_test.zip (likewise for cifar100). Each contains
meta.json, labels.npy and WebP sheets that hold the images as tiles. Loading verifies the SHA-256
checksums in meta.json, if there are any.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tempfile
import zipfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from bench.data.images.augmentation import resize
from bench.data.images.dataset import HELD_OUT, ImageSet
from bench.data.images.image_data import ImageData, compute_moments
from bench.data.interface.descriptor import Facts, hash_parts
from bench.data.interface.splits import Part, split_held_out
from bench.errors import UserError
from bench.files import hold_lock

if TYPE_CHECKING:
    from torchvision.datasets import CIFAR10

NAMES = ("cifar10", "cifar100")
CLASSES = {"cifar10": 10, "cifar100": 100}
TRAIN_SAMPLES = 50_000


@cache
def get_readers() -> dict[str, type[CIFAR10]]:
    """Return torchvision's CIFAR classes by data set name.

    Imports torchvision here, because planning runs on other data does not need it.
    """
    from torchvision.datasets import CIFAR10, CIFAR100

    return {"cifar10": CIFAR10, "cifar100": CIFAR100}


class CifarSet(ImageSet):
    """CIFAR-10 or CIFAR-100 in a data root."""

    needs_root = True

    @property
    def summary(self) -> str:
        """Summary line for `freezebench list`."""
        return f"needs a data root; {CLASSES[self.name]} classes, torchvision's format or zip files"

    def describe(self, root: Path | None) -> Facts:
        """Return its facts, with the published number of images if the files are missing."""
        return Facts(CLASSES[self.name], count_train_samples(self.name, root))

    def fingerprint(self, root: Path | None) -> str:
        """Return a hash of the checksums of its files."""
        return hash_parts([identify_contents(self.name, root).encode()])

    def load(self, resolution: int, evaluate_on: Part, root: Path | None) -> ImageData:
        """Load the training part and the test part.

        With evaluate_on="validation", a tenth of the training part is held out in place of the
        test part.
        """
        images, labels = load(self.name, root, train=True)
        if evaluate_on == "validation":
            kept, held = split_held_out(labels, HELD_OUT)
            images, labels, eval_images, eval_labels = (
                images[kept], labels[kept], images[held], labels[held],
            )  # fmt: skip
        else:
            eval_images, eval_labels = load(self.name, root, train=False)
        if resolution < images.shape[-1]:
            images, eval_images = resize(images, resolution), resize(eval_images, resolution)
        return ImageData(
            self.name, CLASSES[self.name], images, labels, eval_images, eval_labels,
            *compute_moments(images), flip=True,
        )  # fmt: skip


DATA_SETS = tuple(CifarSet(name) for name in NAMES)


def load(name: str, root: Path | None, *, train: bool) -> tuple[Tensor, Tensor]:
    """Return the uint8 images (N, 3, 32, 32) and int64 labels (N,) of the training or test split.

    Downloads the data set if root contains none of its files. Raises UserError if the download
    fails, or if files are missing, truncated or modified.
    """
    if root is not None and root.is_dir():
        # The name depends on the user id, because a user cannot write to another user's lock file.
        word = hashlib.sha256(f"{os.getuid()} {root.resolve()}".encode()).hexdigest()[:12]
        # One process downloads while the others wait for the lock.
        with hold_lock(Path(tempfile.gettempdir(), f"freezebench-{name}-{word}.lock")):
            if not _is_present(name, root):
                download(name, root)
    found = _locate(name, root, train)
    if found.suffix == ".zip":
        images, labels = _read_zip(found)
    else:
        images, labels = _read_python(name, found, train)
    if len(images) != len(labels) or not len(labels) or int(labels.max()) >= CLASSES[name]:
        raise UserError(
            f"{found}: not a valid split of {name} (labels are missing or out of range); "
            "download it again"
        )
    return images, labels


def identify_contents(name: str, root: Path | None) -> str:
    """Return a text that identifies the contents of the files; run ids depend on it.

    For the Python format it lists the published checksums, which loading verifies. A run can
    therefore be planned before these files are downloaded. Zip files are read and hashed.
    """
    if (
        root is None
        or not _is_present(name, root)
        or (root / get_readers()[name].base_folder).is_dir()
    ):
        return json.dumps([_list_members(name, train=True), _list_members(name, train=False)])
    digest = hashlib.sha256()
    for train in (True, False):
        path = _locate(name, root, train)
        try:
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        except OSError as error:
            raise UserError(f"{name}: {path} cannot be read ({error.strerror})") from None
    return digest.hexdigest()


def _is_present(name: str, root: Path) -> bool:
    """Return whether root contains any file of the data set, in either format."""
    return (root / get_readers()[name].base_folder).is_dir() or any(root.glob(f"{name}_*.zip"))


def count_train_samples(name: str, root: Path | None) -> int:
    """Return the number of training images in root; 50,000 if root contains none."""
    try:
        found = _locate(name, root, train=True)
    except UserError:
        return TRAIN_SAMPLES
    return _read_meta(found)["n"] if found.suffix == ".zip" else TRAIN_SAMPLES


def download(name: str, root: Path) -> None:
    """Download the Python format into root. Raises UserError if that fails."""
    try:
        get_readers()[name](str(root), download=True)
    except (OSError, RuntimeError) as error:
        raise UserError(
            f"{name}: download failed ({_shorten_error(error)}); "
            f"put {get_readers()[name].base_folder}/ or {name}_train.zip and {name}_test.zip into "
            f"{root}"
        ) from None


def _locate(name: str, root: Path | None, train: bool) -> Path:
    """Return the zip file of a split, or root itself if it contains the Python format."""
    folder = get_readers()[name].base_folder
    wanted = f"{folder}/ (torchvision's format) or {name}_train.zip and {name}_test.zip"
    if root is None:
        raise UserError(
            f"{name}: no data root; give --data-root DIR, a folder that contains {wanted}"
        )
    if not root.is_dir():
        raise UserError(
            f"{name}: the data root {root} is not a folder; give one that contains {wanted}"
        )
    if (root / get_readers()[name].base_folder).is_dir():
        return root
    zips = sorted(root.glob(f"{name}_train*.zip" if train else f"{name}_test*.zip"))
    if not zips:
        part = "training" if train else "test"
        raise UserError(f"{name}: no {part} images in {root}; it must contain {wanted}")
    return zips[0]


def _list_members(name: str, train: bool) -> list[tuple[str, str]]:
    """Return the file names of a split in the Python format, with their MD5 checksums."""
    listed = get_readers()[name].train_list if train else get_readers()[name].test_list
    return [(str(file), str(md5)) for file, md5 in listed]


def _read_python(name: str, root: Path, train: bool) -> tuple[Tensor, Tensor]:
    folder = root / get_readers()[name].base_folder
    meta = get_readers()[name].meta
    for file, md5 in [*_list_members(name, train), (meta["filename"], meta["md5"])]:
        path = folder / file
        # Verify the checksum first, because unpickling a modified file could run any code.
        if not path.is_file():
            raise UserError(f"{name}: {path} is missing; download the archive again")
        if hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest() != md5:
            raise UserError(f"{name}: {path} is truncated or modified; download the archive again")
    data = get_readers()[name](str(root), train=train, download=False)
    images = torch.from_numpy(np.asarray(data.data)).permute(0, 3, 1, 2).contiguous()
    return images, torch.tensor(data.targets, dtype=torch.int64)


def _read_zip(path: Path) -> tuple[Tensor, Tensor]:
    meta = _read_meta(path)
    try:
        with zipfile.ZipFile(path) as archive:
            labels = np.load(io.BytesIO(archive.read("labels.npy")), allow_pickle=False)
            images = np.concatenate(list(_read_sheets(archive, meta)))[: meta["n"]]
    except (zipfile.BadZipFile, OSError, EOFError, KeyError, ValueError, SyntaxError) as error:
        raise _make_read_error(path, error) from None
    if len(images) < meta["n"] or len(labels) < meta["n"]:
        raise UserError(
            f"{path}: contains fewer images or labels than the {meta['n']} that its meta.json "
            "declares; download it again"
        )
    for what, array in (("images", images), ("labels", labels)):
        expected = meta.get(f"sha256_{what}")
        if (
            expected
            and hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest() != expected
        ):
            raise UserError(
                f"{path}: its {what} were modified (SHA-256 differs from meta.json); "
                "download it again"
            )
    tensor = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).contiguous()
    return tensor, torch.from_numpy(labels[: meta["n"]].astype(np.int64))


def _read_meta(path: Path) -> dict[str, Any]:
    try:
        with zipfile.ZipFile(path) as archive:
            meta = json.loads(archive.read("meta.json"))
        return {**meta, "n": int(meta["n"]), "sheet_images": int(meta["sheet_images"])}
    except (zipfile.BadZipFile, OSError, EOFError, KeyError, ValueError, TypeError) as error:
        raise _make_read_error(path, error) from None


def _read_sheets(archive: zipfile.ZipFile, meta: dict[str, Any]) -> Iterator[np.ndarray]:
    """Yield the tiles of each sheet, uint8 (n, side, side, 3), row by row."""
    side = int(meta.get("tile", 32))
    for number in range(-(-meta["n"] // meta["sheet_images"])):
        with Image.open(io.BytesIO(archive.read(f"sheet_{number:03d}.webp"))) as image:
            sheet = np.asarray(image.convert("RGB"))
        rows, columns = sheet.shape[0] // side, sheet.shape[1] // side
        tiles = sheet[: rows * side, : columns * side].reshape(rows, side, columns, side, 3)
        yield tiles.transpose(0, 2, 1, 3, 4).reshape(-1, side, side, 3)[: meta["sheet_images"]]


def _make_read_error(path: Path, error: BaseException) -> UserError:
    return UserError(
        f"{path}: cannot be read ({_shorten_error(error)}); truncated or damaged, download it again"
    )


def _shorten_error(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
