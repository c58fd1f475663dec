"""Names that a strategy file imports. To add a strategy, subclass `Strategy` in a new file.

class EarlyHalf(Strategy):
    "Freeze the first half of the layers after some epochs."
    name = "early_half"
    options = {"after": Integer(1, low=1, doc="epochs before the freeze")}

    def stages(self):
        return PerEpoch(1)

    def decide(self, view):
        half = len(view.layers) // 2
        due = view.step >= self.after * view.steps_per_epoch
        return [Decision(i, score=view.step, freeze=due) for i in view.active if i < half]
"""

from __future__ import annotations

from bench.options import Choice, Flag, Integer, Option, Real, Text
from bench.strategy_api.cadence import AtSteps, Cadence, EverySteps, Never, PerEpoch
from bench.strategy_api.snapshot import ModelSnapshot
from bench.strategy_api.strategy import Decision, Strategy
from bench.strategy_api.view import View

__all__ = [
    "AtSteps",
    "Cadence",
    "Choice",
    "Decision",
    "EverySteps",
    "Flag",
    "Integer",
    "ModelSnapshot",
    "Never",
    "Option",
    "PerEpoch",
    "Real",
    "Strategy",
    "Text",
    "View",
]
