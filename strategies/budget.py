"""What a schedule of freezes costs, and what a run may cost."""

from __future__ import annotations

import math
from collections.abc import Mapping

from bench.errors import UserError
from bench.options import Real
from strategies.base import View

SAVING = Real(
    0.0, low=0.0, high=0.95, doc="share of full training's FLOPs to save; 0 = as the run says"
)


def resolve_budget(view: View, saving: float) -> float | None:
    """Training FLOPs (exact) a run may cost: its matched budget, else 1 − saving of full training.

    None if neither is given.
    """
    if view.budget is not None:
        return view.budget
    if saving:
        return (1 - saving) * compute_full_cost(view)
    return None


def compute_full_cost(view: View) -> float:
    """FLOPs (exact) of full training for the run's own number of steps."""
    return view.flops.exact().total * view.samples_per_step * view.total_steps


def compute_budget_share(view: View, budget: float) -> float:
    """A budget by the cost of full training, rounded up a little: sums of floats that are equal in
    exact arithmetic must not lose a step.
    """
    return budget / compute_full_cost(view) * (1 + 1e-12)


def compute_schedule_cost(view: View, freeze_at: Mapping[int, int], steps: int) -> float:
    """FLOPs (exact) of `steps` steps when layer l freezes after freeze_at[l] of them."""
    total, frozen, last = 0.0, set[int](), 0
    for layer, moment in sorted(freeze_at.items(), key=lambda item: item[1]):
        moment = min(moment, steps)
        total += view.flops.exact(frozen).total * (moment - last)
        frozen.add(layer)
        last = moment
    total += view.flops.exact(frozen).total * (steps - last)
    return total * view.samples_per_step


def make_budget_error(strategy: str, budget: float, low: float, high: float) -> UserError:
    """The error for a budget outside what a strategy can spend."""
    reach = f"{low:.4g} to {high:.4g}" if math.isfinite(high) else f"{low:.4g} or more"
    return UserError(
        f"strategy {strategy}: a budget of {budget:.4g} FLOPs is out of reach; it can spend "
        f"{reach} here. Change its options or what it is matched to"
    )
