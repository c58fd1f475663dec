"""Held-out and class-balanced subsets of a training set, as indices."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from bench.errors import UserError

Part = Literal["test", "validation"]


def split_held_out(labels: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Return the sorted indices to keep in training and the sorted indices to hold out.

    labels: (N,).
    The same share of each class is held out, and at least one sample. The split depends only on the
    labels and the share. Raises UserError if a class has a single sample, because no sample of that
    class would be left to train.
    """
    if len(alone := find_only_samples(labels)):
        raise UserError(
            f"class {int(labels[alone[0]])} (counted from 0) has a single training sample, so none "
            "can be held out to evaluate on; add samples of this class, or use --evaluate-on test "
            "if the data set has a test or validation part"
        )
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    rank = _rank_in_class(labels[order])
    count = torch.bincount(labels)[labels[order]]
    out = rank < (share * count).round().clamp(min=1)
    return order[~out].sort().values, order[out].sort().values


def find_only_samples(labels: Tensor) -> Tensor:
    """Return the sorted indices of the samples that are alone in their class.

    labels: (N,).
    """
    return (torch.bincount(labels)[labels] == 1).nonzero().flatten()


def select_balanced(labels: Tensor, classes: int, limit: int) -> Tensor:
    """Return the sorted indices of at most `limit` samples, balanced over the classes.

    labels: (N,). Takes the first sample of every class, then the second, and so on.
    """
    turns = _rank_in_class(labels) * classes + labels
    return turns.argsort()[:limit].sort().values


def _rank_in_class(labels: Tensor) -> Tensor:
    """Return for each sample the number of earlier samples with the same label, (N,)."""
    order = labels.argsort(stable=True)
    starts = torch.bincount(labels).cumsum(0) - torch.bincount(labels)
    rank = torch.empty_like(labels)
    rank[order] = torch.arange(len(labels)) - starts[labels[order]]
    return rank
