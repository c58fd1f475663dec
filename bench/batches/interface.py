"""Interface of batches that the training loop uses, for images and texts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from torch import Tensor

from bench.data.interface.metrics import Metric
from bench.layers.discovery import Inputs


class AnyBatches(Protocol):
    """Training batches by step, and batches of the evaluation split.

    The seed alone determines them.
    samples: training samples per epoch. steps_per_epoch: training steps per epoch.
    metric: score of the task. eval_clusters: sources of each evaluation sample, int64 (N, k) on the
    CPU; None if every sample is a source of its own.
    """

    samples: int
    steps_per_epoch: int
    metric: Metric
    eval_clusters: Tensor | None

    def batch(self, step: int) -> tuple[Inputs, Tensor]:
        """Return the inputs and labels of a step, counted from 0."""
        ...

    def evaluation(self, samples: int = 0) -> Iterator[tuple[Inputs, Tensor]]:
        """Yield the batches of the evaluation split, in order.

        samples: yield only that many samples, balanced over the classes; 0 = all.
        """
        ...

    def probe(self, samples: int) -> Inputs:
        """Return the inputs of fixed training samples, the same for all strategies.

        All seeds share them, unless the split of the data rotates with the seed.
        """
        ...

    def labelled_probe(self, samples: int) -> tuple[Inputs, Tensor]:
        """Return the inputs of `probe` and their labels."""
        ...

    def sizes(self) -> dict[int, int]:
        """Return how many samples full training has, by their size: image side or text length."""
        ...
