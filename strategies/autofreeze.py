"""AutoFreeze (Liu et al. 2021, arXiv 2102.01386): freeze where the gradient norm has settled."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from strategies.base import (
    Cadence,
    Choice,
    EverySteps,
    Integer,
    PerEpoch,
    Real,
    Strategy,
    Verdict,
    View,
)


class AutoFreeze(Strategy):
    """From the input on, freeze units whose gradient norm changes least between intervals.

    M times an epoch: η_l is the norm of unit l's gradient summed over the interval,
    r_l = |η_l(previous) − η_l| / η_l(previous). From the first active unit on, freeze while r_l
    lies below the N-th percentile of r over the active units. The first interval is the baseline.
    The head is outside the percentile and never freezes. A unit is a layer (convolution with its
    BatchNorm) or a transformer block. L1 sums are the authors' code, L2 the paper's word.
    """

    name = "autofreeze"
    options = {
        "N": Real(50.0, low=0.0, high=100.0, doc="percentile of r below which a unit may freeze"),
        "M": Integer(4, low=1, high=1000, doc="intervals an epoch"),
        "norm": Choice("l1", ("l1", "l2"), doc="norm of the summed gradient"),
        "unit": Choice("block", ("block", "layer"), doc="what freezes: transformer block or layer"),
    }

    N: float
    M: int
    norm: str
    unit: str

    def start(self, view: View) -> None:
        self._sums: list[torch.Tensor] = []  # of every parameter, over the interval
        self._owners: list[int] = []  # the layer of each
        self._without: frozenset[int] | None = None  # layers that were frozen when sums were made
        self._previous: dict[int, float] = {}

    def observations(self) -> Cadence:
        return EverySteps(1)

    def observe(self, view: View) -> None:
        # Signed sums, one multi-tensor addition for all layers; nothing leaves the device.
        if self._without == view.frozen:
            torch._foreach_add_(self._sums, view.active_gradients())
        else:
            self._without = view.frozen
            self._owners = [layer for layer in view.active for _ in view.gradients(layer)]
            self._sums = [gradient.clone() for gradient in view.active_gradients()]

    def stages(self) -> Cadence:
        return PerEpoch(self.M)

    def decide(self, view: View) -> Sequence[Verdict]:
        norms = self._interval_norms(view)
        torch._foreach_zero_(self._sums)  # new tensors would cost more
        verdicts = self._verdicts(view, norms)
        self._previous = norms
        return verdicts

    def _verdicts(self, view: View, norms: Mapping[int, float]) -> list[Verdict]:
        changes = {
            unit: abs(self._previous[unit] - norm) / self._previous[unit]
            for unit, norm in norms.items()
            if self._previous.get(unit)
        }
        if not changes:
            return []
        threshold = _percentile(list(changes.values()), self.N)
        verdicts, settled = [], True
        for unit, layers in self._units(view).items():
            change = changes.get(unit, math.inf)
            settled = settled and change < threshold
            verdicts += [Verdict(layer, settled, change, threshold) for layer in layers]
        return verdicts

    def _units(self, view: View) -> dict[int, list[int]]:
        """The active layers of each unit, in order from the input."""
        units: dict[int, list[int]] = {}
        for layer in view.active:
            unit = view.layers[layer].block if self.unit == "block" else layer
            units.setdefault(unit, []).append(layer)
        return units

    def _interval_norms(self, view: View) -> dict[int, float]:
        """η of every active unit over the interval, with one transfer from the device."""
        order = 1 if self.norm == "l1" else 2
        flat = torch.stack(torch._foreach_norm(self._sums, order)).double().tolist()
        parts: dict[int, list[float]] = {}
        for owner, norm in zip(self._owners, flat, strict=True):
            parts.setdefault(owner, []).append(norm)
        norms: dict[int, float] = {}
        for unit, layers in self._units(view).items():
            own = [norm for layer in layers for norm in parts[layer]]
            norms[unit] = sum(own) if order == 1 else math.hypot(*own)
        return norms

    def state_dict(self) -> dict[str, Any]:
        return {
            "sums": self._sums,
            "owners": self._owners,
            "without": None if self._without is None else sorted(self._without),
            "previous": self._previous,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._sums = [total.clone() for total in state["sums"]]  # they change in place
        self._owners = list(state["owners"])
        self._without = None if state["without"] is None else frozenset(state["without"])
        self._previous = dict(state["previous"])


def _percentile(values: Sequence[float], percent: float) -> float:
    """As numpy's default, linear between neighbours; numpy's takes longer than all the norms."""
    ordered = sorted(values)
    place = (len(ordered) - 1) * percent / 100
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)
