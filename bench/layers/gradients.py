"""Gradients of a loss for every layer, computed on a copy of the model."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import torch
from torch import nn

from bench.layers.discovery import Layer
from bench.layers.modes import copy_in_train_mode


def compute_layer_gradients(
    model: nn.Module,
    layers: Sequence[Layer],
    loss_of: Callable[[nn.Module], torch.Tensor],
    never_trained: Collection[str] = (),
) -> list[list[torch.Tensor]]:
    """Return the gradients of a loss for the parameters of every layer, frozen layers included.

    loss_of: function from a model to a 0-d loss. Its argument is a copy of the model in train mode.
        As in a training step, the modules of frozen layers stay in eval mode.
    never_trained: names of parameters that never train. Their gradients are zeros.
    Each gradient has the shape of its parameter, in the order of `Layer.parameters`. If the loss
    does not depend on a parameter, its gradient is zeros. The model itself does not change.
    """
    copied = copy_in_train_mode(model).requires_grad_(True)
    # By get_parameter, because named_parameters lists a shared weight under one of its names only.
    parameters = {n: copied.get_parameter(n) for layer in layers for n in layer.parameters}
    for name in never_trained:
        parameters[name].requires_grad_(False)
    training = {name: p for name, p in parameters.items() if p.requires_grad}
    with torch.enable_grad():
        found = torch.autograd.grad(loss_of(copied), list(training.values()), allow_unused=True)
    gradients = {n: torch.zeros_like(p, requires_grad=False) for n, p in parameters.items()}
    gradients |= {n: g for n, g in zip(training, found, strict=True) if g is not None}
    return [[gradients[name] for name in layer.parameters] for layer in layers]
