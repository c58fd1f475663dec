"""A strategy for tests: half of the layers freeze early, more of them an epoch and a half later."""

from collections.abc import Sequence

from strategies.base import AtSteps, Cadence, Strategy, Verdict, View


class HalfThenMore(Strategy):
    """Freezes the first half after 3 steps, one beyond it after 10, three quarters after 14."""

    name = "half_then_more"

    def stages(self) -> Cadence:
        return AtSteps(frozenset({3, 10, 14}))

    def decide(self, view: View) -> Sequence[Verdict]:
        half, last = len(view.layers) // 2, len(view.layers) - 2
        wanted: dict[int, Sequence[int]] = {
            3: range(half),
            10: [last],
            14: range(len(view.layers) * 3 // 4),
        }
        return [Verdict(i, freeze=True) for i in wanted[view.step] if i in view.active]
