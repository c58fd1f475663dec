"""Control: train the head alone. A method that does no better has learned nothing below it."""

from __future__ import annotations

from collections.abc import Sequence

from strategies.base import AtSteps, Cadence, Strategy, Verdict, View


class Probe(Strategy):
    """Train the head alone: every other layer is frozen from the start."""

    name = "probe"
    look = ("#7F7F7F", "P")
    is_control = True

    def stages(self) -> Cadence:
        return AtSteps(frozenset({0}))

    def decide(self, view: View) -> Sequence[Verdict]:
        return [Verdict(layer, freeze=True) for layer in view.active]
