"""Control: freeze layers at random steps.

A method that is no better than this control gains nothing from its choice of layers and steps.
"""

from __future__ import annotations

import torch

from strategies.base import View
from strategies.budget import (
    SAVING,
    compute_budget_share,
    compute_full_cost,
    compute_rounding,
    compute_schedule_cost,
    make_budget_error,
    resolve_budget,
)
from strategies.fixed_schedule import FixedSchedule


class Random(FixedSchedule):
    """Freeze each layer but the head at its own random step, within a given FLOP budget.

    Layer l freezes after min(T, c·u_l·T) steps, rounded down. T is the number of steps of the run,
    and u_l is uniform in [0, 1). Bisection finds the factor c for which the run meets the budget. A
    layer whose step is T never freezes.
    Every seed and every task (model and data set) has its own draws of u_l. The mean over tasks is
    therefore a mean over independent draws.
    Without a budget, no layer freezes. Raises UserError if freezing all layers at step 0 costs more
    than the budget.
    """

    name = "random"
    look = ("#D55E00", "X")
    is_control = True
    options = {"saving": SAVING}
    matches = True

    saving: float

    def start(self, view: View) -> None:
        # The word "moments" seeds the draws, so the results of random runs depend on it.
        generator = view.generator(" ".join(("moments", *view.task)))
        draws = torch.rand(len(view.layers) - 1, generator=generator).tolist()
        budget = resolve_budget(view, self.saving)
        self._freeze_at = {} if budget is None else self._find_freeze_steps(view, draws, budget)

    def _find_freeze_steps(self, view: View, draws: list[float], budget: float) -> dict[int, int]:
        """Return the step after which each layer freezes, by layer; empty if none freezes.

        draws: u of each layer.
        budget: training FLOPs (exact) that the run may cost.
        """

        def freeze_steps(c: float) -> dict[int, int]:
            steps = view.total_steps
            return {i: min(steps, int(c * u * steps)) for i, u in enumerate(draws)}

        def cost(c: float) -> float:
            return compute_schedule_cost(view, freeze_steps(c), view.total_steps)

        if compute_budget_share(view, budget) >= 1:
            return {}
        if budget + compute_rounding(view) < cost(0.0):  # always so if the head is the only layer
            raise make_budget_error(self.name, budget, cost(0.0), compute_full_cost(view))
        low, high = 0.0, 1 / max(min(draws), 1e-9)  # freeze all layers at step 0; freeze none
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if cost(middle) <= budget else (low, middle)
        return {i: step for i, step in freeze_steps(low).items() if step < view.total_steps}
