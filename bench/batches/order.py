"""Order of the samples in an epoch, and batch sizes."""

from __future__ import annotations

import torch
from torch import Tensor

from bench.data.interface.splits import select_balanced
from bench.errors import UserError
from bench.seeds import make_generator

EVALUATION_BATCH = 250  # samples per batch of the evaluation split
IGNORED_LABEL = -100  # label that cross_entropy ignores, for words that are not predicted


def draw_epoch_order(seed: int, epoch: int, samples: int) -> Tensor:
    """Return the order of the samples in an epoch, (samples,) int64."""
    return torch.randperm(samples, generator=make_generator(seed, "order", epoch))


def count_usable_samples(samples: int, batch_size: int, processes: int = 1) -> int:
    """Return the number of samples that an epoch uses.

    The last batch is dropped if it has fewer than two samples per process, because BatchNorm needs
    two. Raises UserError if the whole epoch has fewer than two samples per process.
    """
    if samples < 2 * processes:
        raise UserError(
            f"the run needs at least two training samples per process, {2 * processes} in all, but "
            f"has {samples}; use more data or a higher train_limit"
        )
    last = samples % batch_size
    return samples if last >= 2 * processes else samples - last


def count_batch_samples(step: int, samples: int, batch_size: int) -> int:
    """Return the number of samples in the batch of a step, over all processes.

    samples: samples per epoch.
    """
    within = step % -(-samples // batch_size)
    return min(batch_size, samples - within * batch_size)


def select_evaluated(labels: Tensor, samples: int) -> Tensor:
    """Return the sorted indices of the evaluation samples to score, int64 on the CPU.

    labels: classes of the evaluation split (N,).
    samples: number of samples to score, balanced over the classes; 0 = all.
    """
    if not samples:
        return torch.arange(len(labels))
    labels = labels.cpu()
    return select_balanced(labels, int(labels.max()) + 1, samples)
