"""Freezing and thawing of layers. No other module freezes a layer of a run.

The parameters of a frozen layer have requires_grad = False and no gradient. The optimizer skips
parameters without a gradient, so neither momentum nor weight decay changes them. Their optimizer
state is deleted, or kept until the layer thaws. The layer's modules stay in eval mode, even after
model.train(). Its BatchNorm therefore uses running statistics, and its dropout is off unless
`keep_dropout` is set. A module that contains several layers is in eval mode while all of them are
frozen. Autograd builds no graph for a frozen prefix, because nothing in it needs a gradient.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence

import torch
from torch import nn

from bench.errors import UserError
from bench.layers.attachment import has_running_statistics
from bench.layers.discovery import Layer
from bench.layers.modes import hold_in_eval, release_mode


class Freezer:
    """Freezer for the layers of one model that is trained by one optimizer.

    keep_state: whether the optimizer state of a frozen layer is kept until the layer thaws.
    keep_dropout: whether dropout stays on in frozen layers. Only their BatchNorm is then in eval
        mode.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        layers: Sequence[Layer],
        keep_state: bool = False,
        keep_dropout: bool = False,
    ) -> None:
        self._optimizer = optimizer
        self._keep_state = keep_state
        # A parameter that never trains (a fixed position table) must not train after a thaw.
        self._parameters = [
            [p for name in layer.parameters if (p := model.get_parameter(name)).requires_grad]
            for layer in layers
        ]
        for module in model.modules():
            release_mode(module)  # an earlier Freezer may be lost, with modules that it froze
        self._modes = _find_modes(model, layers, keep_dropout)
        self._held = [False] * len(self._modes)  # which of these modules are kept in eval mode
        self._held_for: frozenset[int] = frozenset()  # frozen layers when _held was set
        self._frozen: set[int] = set()

    @property
    def frozen(self) -> frozenset[int]:
        """Indices of the frozen layers."""
        return frozenset(self._frozen)

    def freeze(self, layers: Iterable[int]) -> None:
        """Freeze layers until they are thawed. Raises UserError if a layer does not exist."""
        for index in layers:
            if not 0 <= index < len(self._parameters):
                last = len(self._parameters) - 1
                raise UserError(f"layer {index} does not exist; the model has layers 0 to {last}")
            self._frozen.add(int(index))  # json cannot write numpy integers
            for parameter in self._parameters[index]:
                parameter.requires_grad_(False)
                parameter.grad = None
                if not self._keep_state:
                    self._optimizer.state.pop(parameter, None)
        self._set_modes()

    def thaw(self, layers: Iterable[int]) -> None:
        """Unfreeze layers. Their optimizer state starts at zero, unless it was kept."""
        with_momentum = self._find_momentum()
        for index in self._frozen.intersection(layers):
            self._frozen.discard(index)
            for parameter in self._parameters[index]:
                parameter.requires_grad_(True)
                kept = "momentum_buffer" in self._optimizer.state.get(parameter, ())
                if parameter in with_momentum and not kept:
                    buffer = torch.zeros_like(parameter)
                    self._optimizer.state[parameter]["momentum_buffer"] = buffer
        self._set_modes()

    def _set_modes(self) -> None:
        """Keep the modules of frozen layers in eval mode; the rest follows `model.train()`."""
        if self._frozen == self._held_for:
            return
        self._held_for = self.frozen
        for i, (module, inside) in enumerate(self._modes):
            hold = inside <= self._frozen
            if hold and not self._held[i]:
                hold_in_eval(module)
            elif self._held[i] and not hold:
                release_mode(module)
            self._held[i] = hold

    def _find_momentum(self) -> set[nn.Parameter]:
        """Return the parameters of each SGD group in which any parameter has a momentum buffer.

        Fused SGD needs momentum buffers for all parameters of a group or for none. Optimizers with
        more state, such as AdamW, are left out. They create the state of each parameter at its
        first update.
        """
        state = self._optimizer.state
        groups = [group["params"] for group in self._optimizer.param_groups]
        return {
            parameter
            for group in groups
            if any(tuple(state.get(p, ())) == ("momentum_buffer",) for p in group)
            for parameter in group
        }


def _find_modes(
    model: nn.Module, layers: Sequence[Layer], keep_dropout: bool
) -> list[tuple[nn.Module, frozenset[int]]]:
    """Return each module whose mode depends on frozen layers, with the layers inside it.

    A module may contain no layer and never be called by the forward pass. Its layers are then those
    of its container. One example is the dropout in BERT's attention, because the attention only
    reads the dropout rate. The model itself is left out, because `model.train()` sets its mode.
    """
    found: dict[str, set[int]] = {}
    for layer in layers:
        for name in (*layer.modules, *layer.weightless):
            # A container may own a parameter. Its mode depends on all layers inside it.
            parts = name.split(".") if name else []
            for end in range(len(parts) + 1):
                found.setdefault(".".join(parts[:end]), set()).add(layer.index)
    modes = []
    for name, module in model.named_modules():
        nearest = name
        while nearest not in found:
            nearest = nearest.rpartition(".")[0]
        if module is not model and (not keep_dropout or has_running_statistics(module)):
            modes.append((module, frozenset(found[nearest])))
    return modes


def copy_thawed(model: nn.Module) -> nn.Module:
    """Return a copy of a model in train mode with all layers unfrozen."""
    copied = copy.deepcopy(model)
    for module in copied.modules():
        module.__dict__.pop("train", None)
    return copied.train().requires_grad_(True)
