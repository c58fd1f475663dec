"""Held-out and class-balanced indices of a training set."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Part = Literal["test", "validation"]


def split_held_out(labels: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Fixed indices that stay in training and that are held out: the same share of each class."""
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    rank = _rank_in_class(labels[order])
    count = torch.bincount(labels)[labels[order]]
    out = rank < (share * count).round().clamp(min=1)
    return order[~out].sort().values, order[out].sort().values


def select_balanced(labels: Tensor, classes: int, limit: int) -> Tensor:
    """Indices of the first samples of every class in turn, up to a limit, in their order."""
    turns = _rank_in_class(labels) * classes + labels
    return turns.argsort()[:limit].sort().values


def _rank_in_class(labels: Tensor) -> Tensor:
    """How many earlier samples have the same label, for each sample."""
    order = labels.argsort(stable=True)
    starts = torch.bincount(labels).cumsum(0) - torch.bincount(labels)
    rank = torch.empty_like(labels)
    rank[order] = torch.arange(len(labels)) - starts[labels[order]]
    return rank
