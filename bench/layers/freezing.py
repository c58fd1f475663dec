"""How a layer freezes, and thaws: the only place that does it.

A frozen layer gets no gradient, its BatchNorm stays in eval mode whatever is called on the model,
and the optimizer forgets it, so that neither momentum nor weight decay moves it. Where all layers
up to one are frozen, no input of theirs needs a gradient and autograd builds no graph for them.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from functools import partial

import torch
from torch import nn

from bench.errors import UserError
from bench.layers.discovery import Layer, has_running_statistics


class Freezer:
    """Freezes and thaws the layers of one model under one optimizer."""

    def __init__(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, layers: Sequence[Layer]
    ) -> None:
        self._model = model
        self._optimizer = optimizer
        # A parameter that never trained (a fixed position table) is not to train after a thaw.
        self._parameters = [
            [p for name in layer.parameters if (p := model.get_parameter(name)).requires_grad]
            for layer in layers
        ]
        self._norms = [
            [m for name in layer.modules if has_running_statistics(m := model.get_submodule(name))]
            for layer in layers
        ]
        self._frozen: set[int] = set()

    @property
    def frozen(self) -> frozenset[int]:
        """Indices of the frozen layers."""
        return frozenset(self._frozen)

    def freeze(self, layers: Iterable[int]) -> None:
        """Freeze layers for good, or until they are thawed. Raises UserError for no such layer."""
        for index in layers:
            if not 0 <= index < len(self._parameters):
                last = len(self._parameters) - 1
                raise UserError(f"layer {index} cannot freeze; the layers are 0 to {last}")
            self._frozen.add(int(index))  # numpy's integers can be counted with, but not written
            for parameter in self._parameters[index]:
                parameter.requires_grad_(False)
                parameter.grad = None
                self._optimizer.state.pop(parameter, None)
            for norm in self._norms[index]:
                norm.eval()
                norm.train = partial(_stay_in_eval, norm)  # type: ignore[method-assign]  # survives model.train()

    def thaw(self, layers: Iterable[int]) -> None:
        """Let frozen layers train again; their momentum starts anew."""
        for index in self._frozen.intersection(layers):
            self._frozen.discard(index)
            for parameter in self._parameters[index]:
                parameter.requires_grad_(True)
                if self._has_momentum(parameter):
                    buffer = torch.zeros_like(parameter)
                    self._optimizer.state[parameter]["momentum_buffer"] = buffer
            for norm in self._norms[index]:
                del norm.__dict__["train"]
                norm.train(self._model.training)

    def _has_momentum(self, parameter: nn.Parameter) -> bool:
        """Whether its group has momentum already: fused SGD wants it for all of them or none."""
        group = next(
            group["params"]
            for group in self._optimizer.param_groups
            if any(p is parameter for p in group["params"])
        )
        return any("momentum_buffer" in self._optimizer.state.get(p, ()) for p in group)


def copy_thawed(model: nn.Module) -> nn.Module:
    """A copy in train mode in which no layer is frozen."""
    copied = copy.deepcopy(model)
    for module in copied.modules():
        module.__dict__.pop("train", None)
    return copied.train().requires_grad_(True)


def _stay_in_eval(module: nn.Module, mode: bool = True) -> nn.Module:
    """What replaces `train` of a frozen BatchNorm."""
    return module
