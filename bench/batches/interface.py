"""Interface of batches that the training loop uses, for images and texts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from torch import Tensor

from bench.data.interface.metrics import Metric
from bench.layers.discovery import Inputs


class AnyBatches(Protocol):
    """Training batches by step, and batches of the evaluation split.

    The seed alone determines the batches.
    samples: number of training samples per epoch.
    steps_per_epoch: number of training steps per epoch.
    metric: metric of the task.
    eval_sources: sources of each evaluation sample, int64 (N, k) on the CPU; None if every sample
    is a source of its own.
    """

    samples: int
    steps_per_epoch: int
    metric: Metric
    eval_sources: Tensor | None

    def batch(self, step: int) -> tuple[Inputs, Tensor]:
        """Return the inputs and labels of a step, counted from 0."""
        ...

    def evaluation(self, samples: int = 0) -> Iterator[tuple[Inputs, Tensor]]:
        """Yield the batches of the evaluation split, in order.

        samples: yield only this number of samples, balanced over the classes; 0 = all.
        """
        ...

    def probe(self, samples: int) -> Inputs:
        """Return the inputs of fixed training samples, the same for all strategies.

        The samples are also the same for all seeds, unless the seed chooses the fold of the data
        set.
        """
        ...

    def labelled_probe(self, samples: int) -> tuple[Inputs, Tensor]:
        """Return the inputs of `probe` and their labels."""
        ...

    def count_samples_by_size(self) -> dict[int, int]:
        """Return the number of samples of full training by input size.

        An input size is an image side in pixels, or a padded text length in tokens.
        """
        ...
