"""Control: full training with fewer steps.

A method that is no better than this control gains nothing from freezing.
"""

from __future__ import annotations

from strategies.base import Strategy, View
from strategies.budget import (
    SAVING,
    compute_budget_share,
    compute_full_cost,
    make_budget_error,
    resolve_budget,
)


class Shortened(Strategy):
    """Full training with fewer steps and a shorter cosine schedule, for a given FLOP budget.

    Without a budget, the number of steps is unchanged. Raises UserError if one step costs more than
    the budget.
    """

    name = "shortened"
    look = ("#56B4E9", "p")
    is_control = True
    freezes = False
    options = {"saving": SAVING}
    matches = True

    saving: float

    def total_steps(self, view: View) -> int:
        budget = resolve_budget(view, self.saving)
        if budget is None:
            return view.total_steps
        steps = int(compute_budget_share(view, budget) * view.total_steps)
        if steps < 1:
            raise make_budget_error(
                self.name, budget, compute_full_cost(view) / view.total_steps, float("inf")
            )
        return steps
