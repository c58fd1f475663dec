"""Sums of gradients over an interval of steps, and the norms of these sums.

Adding a gradient does not wait for the device.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from itertools import compress
from typing import Any

import torch

from strategies.base import View

Place = tuple[int, tuple[int, ...], tuple[int, ...]]  # layer, shape and strides of a gradient


class IntervalSums:
    """Signed sums of the gradients of some layers, over the steps since the last `clear`.

    All sums share one flat tensor. One operation can therefore clear all layers or read the norm of
    a layer. The sums restart from zero when the set of frozen layers changes.
    """

    def __init__(self, layers: Collection[int]) -> None:
        """Begin sums for these layers; gradients of other layers are ignored."""
        self._counted = frozenset(layers)
        self._chosen: list[bool] = []  # whether the gradient of each active parameter is summed
        self._places: list[Place] = []
        self._sums = torch.empty(0)
        self._lay_out()
        self._without: frozenset[int] | None = None  # frozen layers when summing began

    def add(self, view: View) -> None:
        """Add the gradients of the last step."""
        parameters = view.active_parameters()
        # A checkpoint of an earlier release lists fewer parameters if some got no gradient.
        if self._without != view.frozen or len(self._chosen) != len(parameters):
            self._without = view.frozen
            self._chosen = [layer in self._counted for layer, _ in parameters]
            # A gradient may have other strides than its parameter. A step that skips a layer
            # computes none for it.
            likely = [(layer, p if p.grad is None else p.grad) for layer, p in parameters]
            self._places = [
                (layer, tuple(g.shape), g.stride()) for layer, g in compress(likely, self._chosen)
            ]
            self._sums = torch.zeros(sum(map(_round_up_size, self._places)), device=view.device)
            self._lay_out()
        # One multi-tensor addition sums all layers. Nothing is copied from the device.
        summed = compress(parameters, self._chosen)
        pairs = [
            (total, p.grad)
            for total, (_, p) in zip(self._by_parameter, summed, strict=True)
            if p.grad is not None
        ]
        if pairs:
            torch._foreach_add_(*map(list, zip(*pairs, strict=True)))

    def clear(self) -> None:
        self._sums.zero_()

    def compute_norms(self, order: int) -> dict[int, float]:
        """Return the norm of each layer's sum, by layer, with a single copy from the device.

        order: 1 for the L1 norm, 2 for the L2 norm.
        """
        flat = torch.stack(torch._foreach_norm(list(self._by_layer.values()), order))
        return dict(zip(self._by_layer, flat.double().tolist(), strict=True))

    def _lay_out(self) -> None:
        """Make views of the flat tensor: one per parameter for `add`, one per layer for the norms.

        The views have the strides of the gradients, because adding tensors of different strides is
        slower.
        """
        self._by_parameter: list[torch.Tensor] = []
        rooms: dict[int, int] = {}
        for layer, shape, strides in self._places:
            begin = sum(rooms.values())
            self._by_parameter.append(self._sums.as_strided(shape, strides, begin))
            rooms[layer] = rooms.get(layer, 0) + _round_up_size((layer, shape, strides))
        parts = self._sums.split(list(rooms.values()))
        self._by_layer = dict(zip(rooms, parts, strict=True))

    def state_dict(self) -> dict[str, Any]:
        return {
            "sums": self._sums,
            "chosen": self._chosen,
            "places": self._places,
            "without": None if self._without is None else sorted(self._without),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._chosen, self._places = list(state["chosen"]), state["places"]
        self._sums = state["sums"].clone()  # add() changes it in place
        self._lay_out()
        self._without = None if state["without"] is None else frozenset(state["without"])


def _round_up_size(place: Place) -> int:
    """Return the number of float32 elements to reserve for a gradient: a multiple of 16 (64 bytes).

    Every gradient then starts at an address that is aligned for vector loads. The padding stays 0,
    which does not change a norm.
    """
    return -(-math.prod(place[1]) // 16) * 16
