"""Control: train the head alone. A method that does no better has learned nothing below it."""

from __future__ import annotations

from collections.abc import Sequence

from bench.strategy_api.strategy import Strategy, Verdict
from strategies.base import AtSteps, Cadence, View


class Probe(Strategy):
    """Everything but the head frozen from the start."""

    name = "probe"

    def stages(self) -> Cadence:
        return AtSteps(frozenset({0}))

    def decide(self, view: View) -> Sequence[Verdict]:
        return [Verdict(layer, freeze=True) for layer in view.active]
