"""FLOPs of one real training step, as counted by torch's FlopCounterMode."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from bench.layers.activations import get_logits
from bench.layers.discovery import Inputs, Layer
from bench.layers.freezing import Freezer


def count_convolution_backward(
    grad: Sequence[int], x: Sequence[int], weight: Sequence[int], *rest: Any, out_shape: Any = None
) -> int:
    """Return the FLOPs of the backward pass of a convolution, from the shapes of its tensors.

    It replaces torch's own formula. For a grouped convolution, that formula counts the weight
    gradient as many times as there are groups.
    """
    transposed, mask = rest[4], rest[7]
    flops: int = sum(mask[:2]) * 2 * prod(x if transposed else grad) * prod(weight[1:])
    return flops


def count_by_torch(
    model: nn.Module, layers: tuple[Layer, ...], inputs: Inputs, frozen: frozenset[int]
) -> tuple[int, int]:
    """Return the FLOPs of forward and backward of one training step with some layers frozen."""
    Freezer(model, torch.optim.SGD(model.parameters()), layers).freeze(frozen)
    model.train()
    corrected = {torch.ops.aten.convolution_backward: count_convolution_backward}
    with (
        sdpa_kernel(SDPBackend.MATH),
        FlopCounterMode(display=False, custom_mapping=corrected) as counter,
    ):
        logits = get_logits(model(*inputs))
        answers = torch.zeros(
            logits.shape[:-1], dtype=torch.long, device=logits.device
        )  # any labels will do
        loss = F.cross_entropy(logits.flatten(0, -2), answers.flatten())
        forward = counter.get_total_flops()
        if loss.requires_grad:
            loss.backward()
    return forward, counter.get_total_flops() - forward
