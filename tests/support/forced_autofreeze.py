"""AutoFreeze that freezes its first layer at its first decision, whatever the gradients are."""

from collections.abc import Sequence
from dataclasses import replace

from strategies.base import Decision, View
from strategies.gradients.autofreeze import AutoFreeze


class ForcedAutoFreeze(AutoFreeze):
    """AutoFreeze that always freezes layer 0, because gradients may not settle in four steps."""

    def decide(self, view: View) -> Sequence[Decision]:
        return [replace(d, freeze=d.freeze or d.layer == 0) for d in super().decide(view)]
