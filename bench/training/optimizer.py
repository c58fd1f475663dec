"""The optimizer of a run: which parameters it steps, at which learning rate.

The groups are fixed when the run begins; afterwards only the value of a group's learning rate
changes. There is one group for the whole model, or one a layer for strategies that set learning
rates by layer: a group costs time at every step, so it is not paid for where it is not used.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn

from bench.layers.discovery import Layer


def build_optimizer(
    name: str,
    model: nn.Module,
    layers: Sequence[Layer],
    *,
    lr: float,
    momentum: float,
    weight_decay: float,
    by_layer: bool,
) -> torch.optim.Optimizer:
    """SGD with momentum or AdamW over all layers; multi-tensor kernels on every device."""
    grouped = [[model.get_parameter(n) for n in layer.parameters] for layer in layers]
    groups = grouped if by_layer else [[p for group in grouped for p in group]]
    parameters = [{"params": group} for group in groups]
    if name == "adamw":
        return torch.optim.AdamW(parameters, lr=lr, weight_decay=weight_decay, fused=True)
    return torch.optim.SGD(
        parameters, lr=lr, momentum=momentum, weight_decay=weight_decay, fused=True
    )


def compute_lr_factor(step: int, total: int, warmup: float = 0.0) -> float:
    """The learning rate's factor at a step: linear from 0 to 1 in the first `warmup` share of
    the steps, then a cosine to 0 at `total`.
    """
    rise = warmup * total
    if step < rise:
        return compute_warmup_factor(step, total, warmup)
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / (total - rise)))


def compute_warmup_factor(step: int, total: int, warmup: float) -> float:
    """What warm-up makes of a learning rate that falls by a schedule of its own: a factor that
    rises linearly to 1 in the first `warmup` share of the steps, and stays there.
    """
    return min(1.0, (step + 1) / (warmup * total + 1))


def set_learning_rates(optimizer: torch.optim.Optimizer, rates: Sequence[float]) -> None:
    """Set each group's learning rate; one rate serves a single group."""
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = rate
