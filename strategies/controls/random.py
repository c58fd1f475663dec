"""Control: freeze layers at random steps.

A method that is no better than this control gains nothing from its choice of layers and steps.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from strategies.base import AtSteps, Cadence, Decision, Strategy, View
from strategies.budget import (
    SAVING,
    compute_budget_share,
    compute_full_cost,
    compute_rounding,
    compute_schedule_cost,
    make_budget_error,
    resolve_budget,
)


class Random(Strategy):
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
        generator = view.generator(" ".join(("moments", *view.task)))
        draws = torch.rand(len(view.layers) - 1, generator=generator).tolist()
        budget = resolve_budget(view, self.saving)
        self._moments = self._solve(view, draws, budget) if budget is not None else {}

    def stages(self) -> Cadence:
        return AtSteps(frozenset(self._moments.values()))

    def decide(self, view: View) -> Sequence[Decision]:
        return [
            Decision(layer, True, view.step, self._moments[layer])
            for layer in view.active
            if self._moments.get(layer, view.total_steps) <= view.step
        ]

    def _solve(self, view: View, draws: list[float], budget: float) -> dict[int, int]:
        def moments(c: float) -> dict[int, int]:
            steps = view.total_steps
            return {i: min(steps, int(c * u * steps)) for i, u in enumerate(draws)}

        def cost(c: float) -> float:
            return compute_schedule_cost(view, moments(c), view.total_steps)

        if compute_budget_share(view, budget) >= 1:
            return {}
        if budget + compute_rounding(view) < cost(0.0):  # always so if the head is the only layer
            raise make_budget_error(self.name, budget, cost(0.0), compute_full_cost(view))
        low, high = 0.0, 1 / max(min(draws), 1e-9)  # freeze all layers at step 0; freeze none
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if cost(middle) <= budget else (low, middle)
        return {i: t for i, t in moments(low).items() if t < view.total_steps}
