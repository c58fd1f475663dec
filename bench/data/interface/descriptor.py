"""Descriptor of a data set: the interface that the rest of the program uses.

To add a data set, create a file in bench/data/images/ or bench/data/texts/. The file must define
DATA_SETS, a tuple of descriptors, which bench/data/catalogue.py finds.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from bench.data.interface.splits import Part


@dataclass(frozen=True)
class Facts:
    """Facts about a data set: its classes, its training samples and the length of its texts.

    Attributes:
        classes: number of classes; 0 if masked words are predicted.
        train_samples: number of training samples.
        length: for texts, the sequence length of a typical batch in tokens; 0 for images.
    """

    classes: int
    train_samples: int
    length: int = 0


@dataclass(frozen=True)
class DataSet(ABC):
    """Data set with a name; subclasses load images or texts."""

    name: str

    @property
    def needs_root(self) -> bool:
        """Whether the user must give a data root, the folder that contains the data set."""
        return False

    @property
    def reads_root(self) -> bool:
        """Whether the data set reads a data root that the user gives."""
        return self.needs_root

    @property
    @abstractmethod
    def summary(self) -> str:
        """Summary line for `freezebench list`."""

    @property
    def trains_on_validation(self) -> bool:
        """Whether a run that is evaluated on the test part trains on the validation samples."""
        return True

    def find(self, name: str) -> DataSet | None:
        """Return this data set if `name` is its name, else None.

        Data sets with a family of names override this method.
        """
        return self if name == self.name else None

    @abstractmethod
    def describe(self, root: Path | None) -> Facts:
        """Return the facts of the data set for runs that are evaluated on its test part."""

    @abstractmethod
    def fingerprint(self, root: Path | None) -> str:
        """Return 16 hex digits of a SHA-256 over the contents, independent of their location.

        Run ids depend on this fingerprint, so the hashed text of a data set must never change.
        """

    def fingerprint_for(self, evaluate_on: Part, root: Path | None) -> str:
        """Return the fingerprint for runs that evaluate on a part of the data.

        A data set overrides this method if some runs do not read all of its parts. A fault in a
        part that a run does not read must not stop this run.
        """
        return self.fingerprint(root)


def hash_parts(parts: Iterable[bytes]) -> str:
    """Return the first 16 hex digits of the SHA-256 over the concatenated parts."""
    digest = sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()[:16]
