"""Checks after each step of the user's loop: frozen layers keep their bits, the others train."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bench.errors import UserError
from bench.layers.discovery import Layer
from bench.own_training.lost_gradients import LostGradients

_INTEGERS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


@dataclass
class Kept:
    """Tensor of a frozen layer as it was when the layer froze.

    version: torch's count of writes to the tensor. bits: sum over its bits, 0-d on the device.
    """

    name: str
    tensor: Tensor
    version: int
    bits: Tensor


class FrozenGuard:
    """Watch over the tensors of frozen layers.

    The check of a step compares torch's counts of writes and waits for the device only if a tensor
    was written. Values that come back unchanged (an evaluation with averaged weights) are fine.
    """

    def __init__(self, model: nn.Module, layers: Sequence[Layer]) -> None:
        self._model, self._layers = model, layers
        self._kept: dict[int, list[Kept]] = {}
        self._lost = LostGradients(model, layers)

    def watch(self, frozen: frozenset[int]) -> None:
        """Watch over these layers from now on, and over no others."""
        self._lost.watch(frozen)
        for layer in self._kept.keys() - frozen:
            del self._kept[layer]
        for layer in frozen - self._kept.keys():
            self._kept[layer] = [self._remember(*named) for named in self._list_tensors(layer)]

    def check(self, step: int) -> None:
        """Raise UserError if a frozen tensor has changed, or if another layer stopped training.

        step: number of finished steps, for the message.
        """
        self._lost.check(step)
        for layer, kept in self._kept.items():
            for one in kept:
                if one.tensor.requires_grad:
                    raise self._make_error(layer, one, step, "its requires_grad was set to True")
                if one.tensor._version != one.version:
                    self._compare(layer, one, step)

    def check_bits(self, step: int) -> None:
        """Raise UserError if a step changed frozen bits through `.data`. Waits for the device.

        Tensors that torch counts as written since the last step are left to the next `check`,
        because users may load the weights of the best step after training.
        """
        for layer, kept in self._kept.items():
            for one in kept:
                if one.tensor._version == one.version:
                    self._compare(layer, one, step)

    def _compare(self, layer: int, one: Kept, step: int) -> None:
        if not torch.equal(_sum_bits(one.tensor), one.bits):
            raise self._make_error(layer, one, step, "its values changed")
        one.version = one.tensor._version

    def _make_error(self, layer: int, one: Kept, step: int, what: str) -> UserError:
        return UserError(
            f"Freezing: after step {step}, layer {self._layers[layer].name} is frozen, but "
            f"something outside of Freezing touched its {one.name}: {what}; change frozen layers "
            "with a strategy only, and load weights before Freezing.load_state_dict"
        )

    def _list_tensors(self, layer: int) -> list[tuple[str, Tensor]]:
        own = self._layers[layer]
        named: list[tuple[str, Tensor]] = []
        named += [(name, self._model.get_parameter(name)) for name in own.parameters]
        for module in own.modules:
            buffers = self._model.get_submodule(module).named_buffers(recurse=False)
            named += [(f"{module}.{name}", buffer) for name, buffer in buffers]
        return named

    def _remember(self, name: str, tensor: Tensor) -> Kept:
        return Kept(name, tensor, tensor._version, _sum_bits(tensor))


def _sum_bits(tensor: Tensor) -> Tensor:
    """Return the sum over a tensor's elements, read as integers of the same size; 0-d int64."""
    values = tensor.detach()
    values = torch.view_as_real(values) if values.is_complex() else values
    if values.dtype != torch.bool:
        values = values.view(_INTEGERS[values.element_size()])
    return values.sum(dtype=torch.int64)
