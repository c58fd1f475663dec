"""CIFAR-10 and CIFAR-100 from a local folder, in one of two layouts.

Python layout: torchvision's (cifar-10-batches-py/, cifar-100-python/), checked by its MD5 sums.
Zip layout: cifar10_train*.zip and cifar10_test.zip (cifar100 alike), each with meta.json,
labels.npy and sheets of tiles, checked by the sums in meta.json where it has them.
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
    """torchvision's readers by name; imported late, since a plan of other data needs none."""
    from torchvision.datasets import CIFAR10, CIFAR100

    return {"cifar10": CIFAR10, "cifar100": CIFAR100}


class CifarSet(ImageSet):
    """CIFAR-10 or CIFAR-100 below a root folder."""

    needs_root = True

    @property
    def summary(self) -> str:
        """One line for `freezebench list`."""
        return f"needs a data root; {CLASSES[self.name]} classes, torchvision's layout or zip files"

    def describe(self, root: Path | None) -> Facts:
        """Return its facts; the number of images is the published one where files are absent."""
        return Facts(CLASSES[self.name], count_train_samples(self.name, root))

    def fingerprint(self, root: Path | None) -> str:
        """Return a hash of the sums of its files."""
        return hash_parts([identify_contents(self.name, root).encode()])

    def load(self, resolution: int, evaluate_on: Part, root: Path | None) -> ImageData:
        """Load both parts, or the training part alone with a tenth of it held out."""
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
    """One split as uint8 images (N, 3, 32, 32) and int64 labels (N,).

    Raises UserError if the files are missing, truncated or altered.
    """
    if root is not None and root.is_dir():
        # Of this user's own: a file in /tmp that another made cannot be opened for writing.
        word = hashlib.sha256(f"{os.getuid()} {root.resolve()}".encode()).hexdigest()[:12]
        # One process downloads and the others wait for it.
        with hold_lock(Path(tempfile.gettempdir(), f"freezebench-{name}-{word}.lock")):
            if not _is_present(name, root):
                download(name, root)
    found = _locate(name, root, train)
    if found.suffix == ".zip":
        images, labels = _read_zip(found)
    else:
        images, labels = _read_python(name, found, train)
    if len(images) != len(labels) or not len(labels) or int(labels.max()) >= CLASSES[name]:
        raise UserError(f"{found}: not a split of {name}; fetch it again")
    return images, labels


def identify_contents(name: str, root: Path | None) -> str:
    """What a run's id says of the contents: the sums of the files.

    Those of the Python layout are published and checked on loading, so that they need not be
    read, nor even be there, to plan a run. Zip files are read.
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
    """Whether anything of the set lies at root, in either layout."""
    return (root / get_readers()[name].base_folder).is_dir() or any(root.glob(f"{name}_*.zip"))


def count_train_samples(name: str, root: Path | None) -> int:
    """How many training images there are at root; 50,000 where root holds none."""
    try:
        found = _locate(name, root, train=True)
    except UserError:
        return TRAIN_SAMPLES
    return _read_meta(found)["n"] if found.suffix == ".zip" else TRAIN_SAMPLES


def download(name: str, root: Path) -> None:
    """Fetch the Python layout into root; raises UserError where that fails."""
    try:
        get_readers()[name](str(root), download=True)
    except (OSError, RuntimeError) as error:
        raise UserError(
            f"{name}: download failed ({_shorten_error(error)}); "
            f"put {get_readers()[name].base_folder}/ or {name}_train.zip and {name}_test.zip into "
            f"{root}"
        ) from None


def _locate(name: str, root: Path | None, train: bool) -> Path:
    """The zip file of a split, or the root itself if it has the Python layout."""
    folder = get_readers()[name].base_folder
    wanted = f"{folder}/ (torchvision's) or {name}_train.zip and {name}_test.zip"
    if root is None:
        raise UserError(
            f"{name}: no data root is given; give --data-root with a folder of {wanted}"
        )
    if not root.is_dir():
        raise UserError(f"{name}: the data root {root} is not a folder; it should hold {wanted}")
    if (root / get_readers()[name].base_folder).is_dir():
        return root
    zips = sorted(root.glob(f"{name}_train*.zip" if train else f"{name}_test*.zip"))
    if not zips:
        part = "training" if train else "test"
        raise UserError(f"{name}: no {part} images in {root}; it should hold {wanted}")
    return zips[0]


def _list_members(name: str, train: bool) -> list[tuple[str, str]]:
    """File names of a split in the Python layout and their MD5 sums."""
    listed = get_readers()[name].train_list if train else get_readers()[name].test_list
    return [(str(file), str(md5)) for file, md5 in listed]


def _read_python(name: str, root: Path, train: bool) -> tuple[Tensor, Tensor]:
    folder = root / get_readers()[name].base_folder
    meta = get_readers()[name].meta
    for file, md5 in [*_list_members(name, train), (meta["filename"], meta["md5"])]:
        path = folder / file
        # The sum is checked before anything is unpickled.
        if not path.is_file():
            raise UserError(f"{name}: {path} is missing; fetch the archive again")
        if hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest() != md5:
            raise UserError(f"{name}: {path} is truncated or altered; fetch the archive again")
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
        raise UserError(f"{path}: holds fewer images than the {meta['n']} it tells of; truncated")
    for what, array in (("images", images), ("labels", labels)):
        told = meta.get(f"sha256_{what}")
        if told and hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest() != told:
            raise UserError(f"{path}: its {what} are altered (SHA-256 differs); fetch it again")
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
    """Each sheet's tiles, uint8 (n, side, side, 3), row by row."""
    side = int(meta.get("tile", 32))
    for number in range(-(-meta["n"] // meta["sheet_images"])):
        with Image.open(io.BytesIO(archive.read(f"sheet_{number:03d}.webp"))) as image:
            sheet = np.asarray(image.convert("RGB"))
        rows, columns = sheet.shape[0] // side, sheet.shape[1] // side
        tiles = sheet[: rows * side, : columns * side].reshape(rows, side, columns, side, 3)
        yield tiles.transpose(0, 2, 1, 3, 4).reshape(-1, side, side, 3)[: meta["sheet_images"]]


def _make_read_error(path: Path, error: BaseException) -> UserError:
    return UserError(
        f"{path}: cannot be read ({_shorten_error(error)}); truncated or damaged, fetch again"
    )


def _shorten_error(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
