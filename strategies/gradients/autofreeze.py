"""AutoFreeze (Liu et al. 2021, arXiv 2102.01386): freeze units whose gradient norm has settled."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from strategies.base import (
    Cadence,
    Choice,
    Decision,
    EverySteps,
    Integer,
    PerEpoch,
    Real,
    Strategy,
    View,
)
from strategies.gradients.interval_sums import IntervalSums


class AutoFreeze(Strategy):
    """AutoFreeze: freeze leading layers or blocks once their gradient norm has settled.

    An epoch has M intervals. The gradients of unit l are summed over the steps of an interval, and
    η_l is the norm of this sum. Its relative change is r_l = |η_l(previous) − η_l| / η_l(previous).
    At the end of an interval, units freeze in order from the first active unit. Freezing stops at
    the first unit whose r_l is not below the N-th percentile of r over the active units. At the end
    of the first interval no unit freezes, because η(previous) is not known yet.
    The lengths of the intervals differ by a step if M does not divide the steps of an epoch. With
    few steps per interval, this difference affects r. The authors' intervals have equal lengths and
    do not end with epochs.
    The head is excluded from the percentile and never freezes. A unit is a layer (a convolution
    with its BatchNorm) or a transformer block. As in the authors' code, the norm of a block covers
    the layers inside the block only. Embeddings belong to the first block and a pooler to the last
    block, but no norm includes their gradients.
    The last unit before the head never freezes. Because units freeze in order, it could freeze only
    if every active r were below the percentile. The largest r never is.
    norm = "l1" follows the authors' code, and "l2" follows the text of the paper. The authors' code
    also rebuilds the model and resets Adam after each interval. This strategy does neither.
    """

    name = "autofreeze"
    look = ("#009E73", "^")
    made_for = ("text classifier",)
    options = {
        "N": Real(
            50.0,
            low=0.0,
            high=100.0,
            doc="percentile of the relative changes of gradient norms, below which a unit may "
            "freeze",
        ),
        "M": Integer(4, low=1, high=1000, doc="intervals per epoch"),
        "norm": Choice("l1", ("l1", "l2"), doc="norm of the summed gradient"),
        "unit": Choice(
            "block", ("block", "layer"), doc="unit that freezes: a transformer block or a layer"
        ),
    }

    N: float
    M: int
    norm: str
    unit: str

    def start(self, view: View) -> None:
        # Layers that only join a block, such as embeddings, are in no norm of a block.
        self._sums = IntervalSums(
            {layer.index for layer in view.layers if layer.in_block or self.unit == "layer"}
        )
        self._previous: dict[int, float] = {}

    def observations(self) -> Cadence:
        return EverySteps(1)

    def observe(self, view: View) -> None:
        self._sums.add(view)

    def stages(self) -> Cadence:
        return PerEpoch(self.M)

    def decide(self, view: View) -> Sequence[Decision]:
        units = self._group_units(view)
        if not units:
            return ()
        norms = self._compute_norms(units)
        self._sums.clear()
        decisions = self._decide_units(units, norms)
        self._previous = norms
        return decisions

    def _decide_units(
        self, units: Mapping[int, list[int]], norms: Mapping[int, float]
    ) -> list[Decision]:
        changes = {
            unit: _compute_change(self._previous[unit], norm)
            for unit, norm in norms.items()
            if unit in self._previous
        }
        if not changes:
            return []
        threshold = _compute_percentile(list(changes.values()), self.N)
        decisions, settled = [], True
        for unit, layers in units.items():
            change = changes.get(unit, math.inf)
            settled = settled and change < threshold
            decisions += [Decision(layer, settled, change, threshold) for layer in layers]
        return decisions

    def _group_units(self, view: View) -> dict[int, list[int]]:
        """Return the active layers of each unit, by unit, in order from the input."""
        units: dict[int, list[int]] = {}
        for layer in view.active:
            unit = view.layers[layer].block if self.unit == "block" else layer
            units.setdefault(unit, []).append(layer)
        return units

    def _compute_norms(self, units: Mapping[int, list[int]]) -> dict[int, float]:
        """Return η of every active unit over the interval, with a single copy from the device."""
        order = 1 if self.norm == "l1" else 2
        of_layer = self._sums.compute_norms(order)
        norms: dict[int, float] = {}
        for unit, layers in units.items():
            # A layer without a gradient, or outside of its block, has no norm.
            own = [of_layer.get(layer, 0.0) for layer in layers]
            norms[unit] = sum(own) if order == 1 else math.hypot(*own)
        return norms

    def state_dict(self) -> dict[str, Any]:
        return {**self._sums.state_dict(), "previous": self._previous}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._sums.load_state_dict(state)
        self._previous = dict(state["previous"])


def _compute_change(before: float, now: float) -> float:
    """Return the relative change of a norm: 0 if both values are zero, inf if only `before` is."""
    if before:
        return abs(before - now) / before
    return math.inf if now else 0.0


def _compute_percentile(values: Sequence[float], percent: float) -> float:
    """Return a percentile with linear interpolation, as `numpy.percentile` does by default.

    percent: 0 to 100. A call of numpy.percentile would take longer than computing all norms.
    """
    ordered = sorted(values)
    place = (len(ordered) - 1) * percent / 100
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)
