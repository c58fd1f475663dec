"""Descriptor of a data set: all that the rest of the program asks of it by name.

A new data set is one file in bench/data/images/ or bench/data/texts/ that defines DATA_SETS, a
tuple of descriptors; bench/data/catalogue.py finds it there.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path


@dataclass(frozen=True)
class Facts:
    """Facts of a data set that are known without loading it.

    length: of texts, the length of a typical batch in tokens. classes: 0 where masked words are
    predicted.
    """

    classes: int
    train_samples: int
    length: int = 0


@dataclass(frozen=True)
class DataSet(ABC):
    """A data set by name; subclasses load images or texts."""

    name: str

    @property
    def needs_root(self) -> bool:
        """Whether the user must name the root folder that holds it."""
        return False

    @property
    @abstractmethod
    def summary(self) -> str:
        """One line for `freezebench list`."""

    def find(self, name: str) -> DataSet | None:
        """Return the data set of a name if it is this one; a family of names overrides this."""
        return self if name == self.name else None

    @abstractmethod
    def describe(self, root: Path | None) -> Facts:
        """Return its facts when it is evaluated on its test part."""

    @abstractmethod
    def fingerprint(self, root: Path | None) -> str:
        """Return 16 hex digits of a SHA-256 over the contents, wherever they lie on disk.

        Run ids hold it, so the hashed text of a data set must never change.
        """


def hash_parts(parts: Iterable[bytes]) -> str:
    """Return the first 16 hex digits of the SHA-256 over the parts, one after the other."""
    digest = sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()[:16]
