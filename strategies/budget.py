"""FLOP budget of a run, and the FLOPs of a freezing schedule.

FLOPs (exact) follow the convention "exact" of `bench.costs.flops`. It counts the products
(convolution, linear, attention) that autograd computes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from bench.errors import UserError
from bench.options import Real
from strategies.base import View

SAVING = Real(
    0.0,
    low=0.0,
    high=0.95,
    doc="share of full training's FLOPs to save, unless a sweep sets `match`; 0: no budget",
)


def resolve_budget(view: View, saving: float) -> float | None:
    """Return the training FLOPs (exact) that a run may cost, or None if it has no budget.

    A matched run uses its own budget (`view.budget`) and ignores `saving`. For other runs, the
    budget is (1 − saving) times the cost of full training. saving = 0 means no budget.
    """
    if view.budget is not None:
        return view.budget
    if saving:
        return (1 - saving) * compute_full_cost(view)
    return None


def compute_full_cost(view: View) -> float:
    """Return the FLOPs (exact) of full training for as many steps as the run has."""
    return view.flops.exact().total * view.samples_per_step * view.total_steps


def compute_budget_share(view: View, budget: float) -> float:
    """Return a budget in FLOPs as a fraction of the cost of full training.

    The fraction is multiplied by 1 + 1e-12. Without this factor, a rounding error in the budget
    could drop the last step of a run.
    """
    return budget / compute_full_cost(view) * (1 + 1e-12)


def compute_rounding(view: View) -> float:
    """Return the tolerance, in FLOPs, within which a budget and a cost count as equal.

    A matched run may freeze the same layers at the same steps as the run that gave its budget. The
    two costs are then sums of the same terms in another order, so they differ by rounding only.
    """
    return 1e-12 * compute_full_cost(view)


def compute_schedule_cost(view: View, freeze_at: Mapping[int, int], steps: int) -> float:
    """Return the FLOPs (exact) of `steps` steps if layer l freezes after freeze_at[l] steps.

    A layer that is missing from freeze_at never freezes. A value above `steps` counts as `steps`.
    """
    total, frozen, last = 0.0, set[int](), 0
    for layer, freeze_step in sorted(freeze_at.items(), key=lambda item: item[1]):
        freeze_step = min(freeze_step, steps)
        total += view.flops.exact(frozen).total * (freeze_step - last)
        frozen.add(layer)
        last = freeze_step
    total += view.flops.exact(frozen).total * (steps - last)
    return total * view.samples_per_step


def make_budget_error(strategy: str, budget: float, low: float, high: float) -> UserError:
    """Return the error for a budget that is outside the range of costs of a strategy.

    budget, low, high: FLOPs. low and high are the ends of the range.
    """
    reach = f"{low:.4g} to {high:.4g}" if math.isfinite(high) else f"{low:.4g} or more"
    return UserError(
        f"strategy {strategy}: cannot meet a budget of {budget:.4g} FLOPs; a run costs {reach} "
        "FLOPs. Change the strategy's options or the method that it matches"
    )
