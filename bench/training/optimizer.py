"""Optimizer of a run: parameter groups and learning rates.

The parameter groups are fixed during a run. Only their learning rates change. Strategies that set
learning rates have one group per layer. All other strategies have a single group, because every
group adds time to every step.
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
    nesterov: bool = False,
) -> torch.optim.Optimizer:
    """Build SGD with momentum, or AdamW, over all layers. Both use fused kernels.

    by_layer: whether each layer has a parameter group of its own.
    nesterov: whether SGD uses Nesterov momentum, as FreezeOut's authors do.
    """
    grouped = [[model.get_parameter(n) for n in layer.parameters] for layer in layers]
    groups = grouped if by_layer else [[p for group in grouped for p in group]]
    parameters = [{"params": group} for group in groups]
    if name == "adamw":
        return torch.optim.AdamW(parameters, lr=lr, weight_decay=weight_decay, fused=True)
    return torch.optim.SGD(
        parameters,
        lr=lr,
        momentum=momentum,
        weight_decay=weight_decay,
        nesterov=nesterov,
        fused=True,
    )


def compute_lr_factor(step: int, total: int, warmup: float = 0.0) -> float:
    """Return the factor by which the base learning rate is multiplied at a step.

    warmup: share of the steps in which the factor rises linearly to 1. The factor then falls to 0
        at `total` along a cosine.
    """
    rise = warmup * total
    if step < rise:
        return compute_warmup_factor(step, total, warmup)
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / (total - rise)))


def compute_warmup_factor(step: int, total: int, warmup: float) -> float:
    """Return the warm-up factor for learning rates that a strategy sets.

    The factor rises linearly to 1 in the first `warmup` share of the steps and then stays at 1.
    """
    return min(1.0, (step + 1) / (warmup * total + 1))


def set_learning_rates(optimizer: torch.optim.Optimizer, rates: Sequence[float]) -> None:
    """Set the learning rate of each parameter group. Raises ValueError if the counts differ."""
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = rate
