"""What every set of texts looks like once it is loaded, before it is cut into tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.data.interface.metrics import Metric

MASKED = 0  # classes of a set whose own words are what is predicted


@dataclass(frozen=True)
class Text:
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
    train: Sequence[Text]
    evaluation: Sequence[Text]
