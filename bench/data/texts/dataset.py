"""A set of texts: its descriptor, and its form once it is loaded."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from bench.data.interface.descriptor import DataSet, hash_parts
from bench.data.interface.metrics import Metric
from bench.data.interface.splits import Part, select_balanced

MASKED = 0  # classes of a set whose own words are what is predicted
PARTS: tuple[Part, ...] = ("test", "validation")


@dataclass(frozen=True)
class TextSample:
    """One sample: a sentence, or two (second = "" for one), and its class."""

    first: str
    second: str = ""
    label: int = 0


@dataclass(frozen=True)
class TextData:
    """Labelled texts in two parts; classes is MASKED where masked words are to be predicted.

    metric: how the task is scored, by its makers' custom.
    """

    name: str
    classes: int
    metric: Metric
    train: Sequence[TextSample]
    evaluation: Sequence[TextSample]

    def limit(self, samples: int) -> TextData:
        """Return the set with the first training texts of every class in turn, up to a number."""
        labels = torch.tensor([text.label for text in self.train])
        kept = select_balanced(labels, max(1, self.classes), samples).tolist()
        return replace(self, train=tuple(self.train[i] for i in kept))


class TextSet(DataSet):
    """Descriptor of a set of texts."""

    @property
    def masked(self) -> bool:
        """Whether masked words are to be predicted in place of a class."""
        return False

    @abstractmethod
    def load(self, evaluate_on: Part, root: Path | None) -> TextData:
        """Load the set. Raises UserError for missing or damaged files."""

    def fingerprint(self, root: Path | None) -> str:
        """Return a hash of all texts and labels."""
        return hash_parts(
            f"{text.label}\t{text.first}\t{text.second}\n".encode()
            for part in PARTS
            for data in [self.load(part, root)]
            for text in (*data.train, *data.evaluation)
        )
