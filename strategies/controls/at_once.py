"""Control: freeze all layers but the head at one step, which depends on the budget alone.

A method that is no better than this control gains nothing from deciding on each layer separately.
"""

from __future__ import annotations

from strategies.base import View
from strategies.budget import (
    SAVING,
    compute_rounding,
    compute_schedule_cost,
    make_budget_error,
    resolve_budget,
)
from strategies.fixed_schedule import FixedSchedule


class AtOnce(FixedSchedule):
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
        self._freeze_at = {} if budget is None else self._find_freeze_steps(view, budget)

    def _find_freeze_steps(self, view: View, budget: float) -> dict[int, int]:
        """Return the step after which each layer freezes, by layer; empty if none freezes.

        budget: training FLOPs (exact) that the run may cost.
        """
        steps, body = view.total_steps, range(len(view.layers) - 1)

        def cost(freeze_step: int) -> float:
            return compute_schedule_cost(view, dict.fromkeys(body, freeze_step), steps)

        if budget + compute_rounding(view) < cost(0):
            raise make_budget_error(self.name, budget, cost(0), cost(steps))
        if budget >= cost(steps):
            return {}
        # A step has one cost before the freeze and another after it, so cost() is linear.
        a_step = (cost(steps) - cost(0)) / steps
        freeze_step = max(0, int((budget - cost(0)) / a_step * (1 + 1e-12)))
        return dict.fromkeys(body, freeze_step) if freeze_step < steps else {}
