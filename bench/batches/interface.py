"""What a run asks of its batches, whatever they are made of."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from torch import Tensor

from bench.data.interface.metrics import Metric
from bench.layers.discovery import Inputs


class AnyBatches(Protocol):
    """Training batches by step and the evaluation split, drawn from the seed alone.

    samples: training samples an epoch sees. metric: how the task is scored.
    """

    samples: int
    steps_per_epoch: int
    metric: Metric

    def batch(self, step: int) -> tuple[Inputs, Tensor]:
        """The inputs and labels of a step counted from 0."""
        ...

    def evaluation(self) -> Iterator[tuple[Inputs, Tensor]]:
        """The evaluation split in order."""
        ...

    def probe(self, samples: int) -> Inputs:
        """Fixed training samples, the same for every seed and strategy."""
        ...

    def sizes(self) -> dict[int, int]:
        """How many samples of full training have each size: an image's side, a text's length."""
        ...
