"""Text data sets: the descriptor, and the texts in memory."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from bench.data.interface.descriptor import DataSet, hash_parts
from bench.data.interface.metrics import Metric
from bench.data.interface.splits import Part, select_balanced

MASKED = 0  # number of classes if masked words are predicted instead of a class
PARTS: tuple[Part, ...] = ("test", "validation")


@dataclass(frozen=True)
class TextSample:
    """Sample of one or two sentences, and its class; `second` is "" for one sentence."""

    first: str
    second: str = ""
    label: int = 0


@dataclass(frozen=True)
class TextData:
    """Labelled texts of the training and evaluation parts.

    classes: MASKED if masked words are predicted.
    metric: the score that the task's authors use.
    """

    name: str
    classes: int
    metric: Metric
    train: Sequence[TextSample]
    evaluation: Sequence[TextSample]

    def limit(self, samples: int) -> TextData:
        """Return the data set with at most `samples` training texts, balanced over the classes."""
        labels = torch.tensor([text.label for text in self.train])
        kept = select_balanced(labels, max(1, self.classes), samples).tolist()
        return replace(self, train=tuple(self.train[i] for i in kept))


class TextSet(DataSet):
    """Descriptor of a text data set."""

    @property
    def masked(self) -> bool:
        """Whether masked words are predicted instead of a class."""
        return False

    @abstractmethod
    def load(self, evaluate_on: Part, root: Path | None) -> TextData:
        """Load the data set. Raises UserError for missing or damaged files."""

    def fingerprint(self, root: Path | None) -> str:
        """Return a hash of all texts and labels."""
        return hash_parts(
            f"{text.label}\t{text.first}\t{text.second}\n".encode()
            for part in PARTS
            for data in [self.load(part, root)]
            for text in (*data.train, *data.evaluation)
        )
