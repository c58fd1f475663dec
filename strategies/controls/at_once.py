"""Control: freeze all layers but the head at one step, which depends on the budget alone.

A method that is no better than this control gains nothing from deciding on each layer separately.
"""

from __future__ import annotations

from collections.abc import Sequence

from strategies.base import AtSteps, Cadence, Decision, Strategy, View
from strategies.budget import (
    SAVING,
    compute_rounding,
    compute_schedule_cost,
    make_budget_error,
    resolve_budget,
)


class AtOnce(Strategy):
    """Freeze every layer but the head at one step, as late as a given FLOP budget allows.

    Without a budget, no layer freezes. Raises UserError at the start if the run would exceed the
    budget even with a freeze at step 0.
    """

    name = "at_once"
    look = ("#8C6D1F", "h")
    is_control = True
    options = {"saving": SAVING}
    matches = True

    saving: float

    def start(self, view: View) -> None:
        budget = resolve_budget(view, self.saving)
        self._moment = view.total_steps if budget is None else self._solve(view, budget)

    def stages(self) -> Cadence:
        return AtSteps(frozenset({self._moment}))

    def decide(self, view: View) -> Sequence[Decision]:
        if view.step == view.total_steps:
            return ()
        return [Decision(layer, True, view.step, self._moment) for layer in view.active]

    def _solve(self, view: View, budget: float) -> int:
        steps, body = view.total_steps, range(len(view.layers) - 1)

        def cost(moment: int) -> float:
            return compute_schedule_cost(view, dict.fromkeys(body, moment), steps)

        if budget + compute_rounding(view) < cost(0):
            raise make_budget_error(self.name, budget, cost(0), cost(steps))
        if budget >= cost(steps):
            return steps
        # A step has one cost before the freeze and another after it, so cost() is linear.
        a_step = (cost(steps) - cost(0)) / steps
        return min(steps, max(0, int((budget - cost(0)) / a_step * (1 + 1e-12))))
