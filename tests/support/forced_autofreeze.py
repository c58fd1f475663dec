"""AutoFreeze that freezes its first layer at the first stage with a verdict, come what may."""

from collections.abc import Sequence
from dataclasses import replace

from strategies.base import Verdict, View
from strategies.gradients.autofreeze import AutoFreeze


class ForcedAutoFreeze(AutoFreeze):
    """Whether gradients settle in four steps is chance; that a freeze works must not be."""

    def decide(self, view: View) -> Sequence[Verdict]:
        return [replace(v, freeze=v.freeze or v.layer == 0) for v in super().decide(view)]
