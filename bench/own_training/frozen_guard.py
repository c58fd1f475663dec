"""Checks after each step of the user's loop: frozen layers keep their bits, all others train."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bench.errors import UserError
from bench.layers.attachment import is_inside
from bench.layers.discovery import Layer
from bench.own_training.lost_gradients import LostGradients

_INTEGERS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


@dataclass
class Kept:
    """Tensor of a frozen layer as it was when the layer froze.

    name: name of the tensor in the model.
    place: dict of the tensor's module that holds the tensor under `key`.
    version: version counter of the tensor, which torch increases at each write.
    bits: hash of the tensor's bits, 0-d int64 on the tensor's device.
    """

    name: str
    place: Mapping[str, Tensor | None]
    key: str
    tensor: Tensor
    version: int
    bits: Tensor


class FrozenGuard:
    """Guard of the tensors of frozen layers, and of requires_grad of the layers that train.

    The check of a step compares the version counters of tensors. It waits for the device only if a
    tensor was written or replaced. Writes are accepted if they restore the same values, as after an
    evaluation with averaged weights.
    """

    def __init__(self, model: nn.Module, layers: Sequence[Layer]) -> None:
        self._model, self._layers = model, layers
        self._kept: dict[int, list[Kept]] = {}
        self._lost = LostGradients(model, layers)
        self._trainable = [
            (layer.index, name, parameter)
            for layer in layers
            for name in layer.parameters
            if (parameter := model.get_parameter(name)).requires_grad
        ]
        self._modules = {
            layer.index: [(name, *_locate(model, name)) for name in layer.modules if name]
            for layer in layers
        }

    def watch(self, frozen: frozenset[int]) -> None:
        """Watch over these layers from now on, and over no others."""
        self._lost.watch(frozen)
        for layer in self._kept.keys() - frozen:
            del self._kept[layer]
        for layer in frozen - self._kept.keys():
            self._kept[layer] = list(self._list_tensors(layer))

    def check(self, step: int) -> None:
        """Raise UserError if a frozen tensor has changed, or if another layer stopped training.

        step: number of steps before the one that has just ended, for the message.
        """
        self._lost.check(step)
        for layer, name, parameter in self._trainable:
            if not parameter.requires_grad and layer not in self._kept:
                raise UserError(
                    f"Freezing: after step {step}, layer {self._layers[layer].name} should train, "
                    f"but requires_grad of {name} is False; freeze layers with a strategy only"
                )
        for layer, kept in self._kept.items():
            for name, place, key, module in self._modules[layer]:
                if place.get(key) is not module:
                    raise self._make_error(layer, name, step, "the module was replaced")
            for one in kept:
                if one.place.get(one.key) is not one.tensor:
                    self._adopt(layer, one, step)
                if one.tensor.requires_grad:
                    what = "its requires_grad was set to True"
                    raise self._make_error(layer, one.name, step, what)
                if one.tensor._version != one.version:
                    self._compare(layer, one, step)

    def check_bits(self, step: int) -> None:
        """Raise UserError if a step changed frozen bits through `.data`. Waits for the device.

        A tensor whose version counter changed is skipped. Only the next `check` compares its bits,
        because users may load other weights after training, such as the best ones.
        """
        for layer, kept in self._kept.items():
            for one in kept:
                if one.tensor._version == one.version:
                    self._compare(layer, one, step)

    def _compare(self, layer: int, one: Kept, step: int) -> None:
        if not torch.equal(_hash_bits(one.tensor), one.bits):
            raise self._make_error(layer, one.name, step, "its values changed")
        one.version = one.tensor._version

    def _adopt(self, layer: int, one: Kept, step: int) -> None:
        """Watch the buffer that has replaced a frozen buffer.

        Raises UserError if the buffer has other bits, if a parameter was replaced, or if the tensor
        was removed.
        """
        now = one.place.get(one.key)
        if now is None or isinstance(now, nn.Parameter):
            raise self._make_error(layer, one.name, step, "the tensor was replaced")
        one.tensor = now
        self._compare(layer, one, step)

    def _make_error(self, layer: int, name: str, step: int, what: str) -> UserError:
        return UserError(
            f"Freezing: after step {step}, layer {self._layers[layer].name} is frozen, but "
            f"something outside of Freezing touched its {name}: {what}; change frozen layers "
            "with a strategy only, and load weights before Freezing.load_state_dict"
        )

    def _list_tensors(self, layer: int) -> Iterator[Kept]:
        """Yield the parameters of a layer, and the buffers of the modules that freeze with it."""
        own = self._layers[layer]
        for name in own.parameters:
            yield self._remember(name, "_parameters")
        others = [m for each in self._layers if each is not own for m in each.modules]
        for module in own.modules:
            # A container of several layers may own a parameter, but follows the mode of all layers.
            if module and not any(is_inside(other, (module,)) for other in others):
                for name, _ in self._model.get_submodule(module).named_buffers(recurse=False):
                    yield self._remember(f"{module}.{name}", "_buffers")

    def _remember(self, name: str, kind: str) -> Kept:
        module, _, key = name.rpartition(".")
        place: dict[str, Tensor] = getattr(self._model.get_submodule(module), kind)
        return Kept(name, place, key, place[key], place[key]._version, _hash_bits(place[key]))


def _locate(model: nn.Module, name: str) -> tuple[Mapping[str, nn.Module | None], str, nn.Module]:
    """Return the dict in which a module's parent holds the module, the key, and the module."""
    parent, _, key = name.rpartition(".")
    return model.get_submodule(parent)._modules, key, model.get_submodule(name)


def _hash_bits(tensor: Tensor) -> Tensor:
    """Return a hash of a tensor's bits, 0-d int64. It depends on the places of the elements.

    The function reads the elements as integers of the same size. For each dimension, it sums the
    elements at each index, and weights these sums by the index, counted from 1. Overflow wraps
    around.
    """
    values = tensor.detach()
    values = torch.view_as_real(values) if values.is_complex() else values
    if values.dtype != torch.bool:
        values = values.view(_INTEGERS[values.element_size()])
    total = values.sum(dtype=torch.int64)
    for dimension in range(values.ndim):
        others = [each for each in range(values.ndim) if each != dimension]
        along = values.sum(others, dtype=torch.int64) if others else values.long()
        total = 31 * total + (along * torch.arange(1, len(along) + 1, device=along.device)).sum()
    return total
