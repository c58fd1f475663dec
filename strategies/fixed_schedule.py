"""Strategies whose freezing steps are known before training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from strategies.base import AtSteps, Cadence, Decision, Strategy, View


class FixedSchedule(Strategy):
    """Base class of strategies that freeze each layer at a known step.

    `_freeze_at` maps each layer to the number of steps after which the layer freezes. A subclass
    sets it in `start`. Layers that are missing never freeze.
    """

    _freeze_at: Mapping[int, int]

    def stages(self) -> Cadence:
        return AtSteps(frozenset(self._freeze_at.values()))

    def decide(self, view: View) -> Sequence[Decision]:
        return [
            Decision(layer, True, view.step, freeze_step)
            for layer, freeze_step in self._freeze_at.items()
            if freeze_step == view.step
        ]
