"""Strategy for tests that freezes layers at three fixed steps."""

from collections.abc import Sequence

from strategies.base import AtSteps, Cadence, Decision, Strategy, View


class HalfThenMore(Strategy):
    """Strategy that freezes more layers at each of three steps.

    It freezes the first half of the layers at step 3. It freezes the last layer before the head at
    step 10, and the first 75 % of the layers at step 14.
    """

    name = "half_then_more"

    def stages(self) -> Cadence:
        return AtSteps(frozenset({3, 10, 14}))

    def decide(self, view: View) -> Sequence[Decision]:
        half, last = len(view.layers) // 2, len(view.layers) - 2
        wanted: dict[int, Sequence[int]] = {
            3: range(half),
            10: [last],
            14: range(len(view.layers) * 3 // 4),
        }
        return [Decision(i, freeze=True) for i in wanted[view.step] if i in view.active]
