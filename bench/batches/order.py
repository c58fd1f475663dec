"""Order of samples in an epoch and sizes of batches."""

from __future__ import annotations

import torch
from torch import Tensor

from bench.errors import UserError
from bench.seeds import make_generator

EVALUATION_BATCH = 250
NOT_ASKED = -100  # label of what a model is not asked for: words that were not masked


def draw_epoch_order(seed: int, epoch: int, samples: int) -> Tensor:
    """The order of the samples in an epoch, (samples,) int64."""
    return torch.randperm(samples, generator=make_generator(seed, "order", epoch))


def count_usable_samples(samples: int, batch_size: int, processes: int = 1) -> int:
    """The samples of an epoch: all, but for a last batch that BatchNorm cannot take, since it
    leaves a process with one or none.
    """
    if samples < 2 * processes:
        raise UserError(f"{samples} training samples are too few; give more, or a larger limit")
    last = samples % batch_size
    return samples if last >= 2 * processes else samples - last


def count_batch_samples(step: int, samples: int, batch_size: int) -> int:
    """The size of a step's batch where an epoch has so many samples."""
    within = step % -(-samples // batch_size)
    return min(batch_size, samples - within * batch_size)
