"""AutoFreeze that freezes its first layer at its first decision, whatever the gradients are."""

from collections.abc import Sequence
from dataclasses import replace

from strategies.base import Verdict, View
from strategies.gradients.autofreeze import AutoFreeze


class ForcedAutoFreeze(AutoFreeze):
    """AutoFreeze that always freezes layer 0, because gradients may not settle in four steps."""

    def decide(self, view: View) -> Sequence[Verdict]:
        return [replace(v, freeze=v.freeze or v.layer == 0) for v in super().decide(view)]
