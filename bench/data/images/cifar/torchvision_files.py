"""CIFAR in torchvision's format: pickles in cifar-10-batches-py/ or cifar-100-python/.

Loading verifies the published MD5 checksums, which torchvision lists.
"""

from __future__ import annotations

import hashlib
import json
import pickle
import tarfile
from dataclasses import dataclass
from functools import cache
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor

from bench.errors import UserError, summarise_error

if TYPE_CHECKING:
    from torchvision.datasets import CIFAR10

PUBLISHED_TRAIN_SAMPLES = 50_000


@cache
def get_reader(name: str) -> type[CIFAR10]:
    """Return torchvision's class, which lists the files of a data set and downloads them.

    Imports torchvision here, because planning runs on other data does not need it.
    """
    from torchvision.datasets import CIFAR10, CIFAR100

    readers: dict[str, type[CIFAR10]] = {"cifar10": CIFAR10, "cifar100": CIFAR100}
    return readers[name]


def list_checksums(name: str) -> str:
    """Return the names and published checksums of all files; run ids depend on this text."""
    reader = get_reader(name)
    return json.dumps([[list(file) for file in reader.train_list],
                       [list(file) for file in reader.test_list]])  # fmt: skip


@dataclass(frozen=True)
class TorchvisionFiles:
    """Files of one data set in torchvision's format.

    folder: the folder that contains the pickles.
    """

    name: str
    folder: Path

    @classmethod
    def find(cls, name: str, place: Path) -> TorchvisionFiles | None:
        """Return the files in a folder, or None if it contains none."""
        folder = place / get_reader(name).base_folder
        return cls(name, folder) if folder.is_dir() else None

    def count_train_samples(self) -> int:
        """Return the published number of training images, because `read` accepts no other files."""
        return PUBLISHED_TRAIN_SAMPLES

    def identify_contents(self) -> str:
        """Return the published checksums, which `read` verifies.

        A run can therefore be planned before the files are downloaded.
        """
        return list_checksums(self.name)

    def read(self, split: Literal["train", "test"]) -> tuple[Tensor, Tensor]:
        """Return the uint8 images (N, 3, 32, 32) and int64 labels (N,) of a split.

        Raises UserError for a missing or modified file of this split.
        """
        reader = get_reader(self.name)
        files = reader.train_list if split == "train" else reader.test_list
        entries = [self._unpickle(str(file), str(md5)) for file, md5 in files]
        column = "labels" if "labels" in entries[0] else "fine_labels"
        images = np.concatenate([entry["data"] for entry in entries]).reshape(-1, 3, 32, 32)
        labels = [label for entry in entries for label in entry[column]]
        return torch.from_numpy(images), torch.tensor(labels, dtype=torch.int64)

    def _unpickle(self, file: str, md5: str) -> dict[str, Any]:
        path = self.folder / file
        again = f"delete {self.folder} to download it again, or replace the file"
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            raise UserError(f"{self.name}: {path} is missing; {again}") from None
        except OSError as error:
            raise UserError(
                f"{self.name}: {path} cannot be read ({error.strerror}); check its permissions"
            ) from None
        # Verify the checksum first, because unpickling a modified file could run any code.
        if hashlib.md5(content, usedforsecurity=False).hexdigest() != md5:
            raise UserError(f"{self.name}: {path} is truncated or modified; {again}")
        entry: dict[str, Any] = pickle.loads(content, encoding="latin1")
        return entry


def download(name: str, root: Path, wanted: str) -> TorchvisionFiles:
    """Download torchvision's archive into root, unless root contains it, and extract it.

    wanted: the files that the user can provide instead, for the message. Raises UserError if the
    download fails. If root contains a damaged archive, the error names it.
    """
    from torchvision.datasets.utils import check_integrity

    reader = get_reader(name)
    archive, problem = root / reader.filename, "download failed"
    try:
        if archive.exists() and not check_integrity(str(archive), reader.tgz_md5):
            problem = f"{archive} is truncated or modified, and downloading it again failed"
        reader(str(root), download=True)
    except (OSError, RuntimeError, EOFError, HTTPException, tarfile.TarError) as error:
        reason = summarise_error(error)
        raise UserError(f"{name}: {problem} ({reason}); put {wanted} into {root}") from None
    return TorchvisionFiles(name, root / reader.base_folder)
