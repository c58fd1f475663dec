"""How a layer freezes, and thaws: the only place that does it.

A frozen layer gets no gradient, its BatchNorm stays in eval mode whatever is called on the model,
and the optimizer forgets it, so that neither momentum nor weight decay moves it. Where all layers
up to one are frozen, no input of theirs needs a gradient and autograd builds no graph for them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from types import MethodType

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from bench.layers import Layer


class Freezer:
    """Freezes and thaws the layers of one model under one optimizer."""

    def __init__(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, layers: Sequence[Layer]
    ) -> None:
        self._layers = layers
        self._optimizer = optimizer
        self._parameters = [[model.get_parameter(n) for n in layer.parameters] for layer in layers]
        modules = dict(model.named_modules())
        self._norms: list[list[nn.Module]] = [
            [modules[n] for n in layer.modules if isinstance(modules[n], _BatchNorm)]
            for layer in layers
        ]
        self._momentum = bool(optimizer.defaults.get("momentum"))
        self._frozen: set[int] = set()

    @property
    def frozen(self) -> frozenset[int]:
        """Indices of the frozen layers."""
        return frozenset(self._frozen)

    def freeze(self, layers: Iterable[int]) -> None:
        """Freeze layers for good, or until they are thawed."""
        for index in layers:
            self._frozen.add(index)
            for parameter in self._parameters[index]:
                parameter.requires_grad_(False)
                parameter.grad = None
                self._optimizer.state.pop(parameter, None)
            for norm in self._norms[index]:
                norm.eval()
                norm.train = MethodType(_stay_in_eval, norm)  # type: ignore[method-assign]  # survives model.train()

    def thaw(self, layers: Collection[int]) -> None:
        """Let layers train again; their momentum starts anew."""
        for index in layers:
            self._frozen.discard(index)
            for parameter in self._parameters[index]:
                parameter.requires_grad_(True)
                if self._momentum:  # fused SGD wants buffers for all of a group or for none
                    self._optimizer.state[parameter] = {
                        "momentum_buffer": torch.zeros_like(parameter)
                    }
            for norm in self._norms[index]:
                norm.__dict__.pop("train", None)
                norm.train()


def _stay_in_eval(module: nn.Module, mode: bool = True) -> nn.Module:
    """What replaces `train` of a frozen BatchNorm."""
    return module
