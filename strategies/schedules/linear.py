"""Linear freezing: FreezeOut (Brock et al. 2017, arXiv 1706.04983; eq. 6 of SmartFRZ)."""

from __future__ import annotations

import math
from collections.abc import Sequence

from strategies.base import AtSteps, Cadence, Choice, Decision, Flag, Real, Strategy, View
from strategies.budget import (
    SAVING,
    compute_rounding,
    compute_schedule_cost,
    make_budget_error,
    resolve_budget,
)

POWERS = {"linear": 1, "squared": 2, "cubic": 3}  # of each linear t_i / T, by spacing


class Linear(Strategy):
    """FreezeOut: anneal each layer's learning rate to zero at its own step, then freeze the layer.

    Eq. 6 of SmartFRZ: lr_i(t) = 0.5 · lr_i(0) · (1 + cos(π t / t_i)), with t, t_i and T in steps. T
    is the length of the run. t_i is spaced linearly from t0·T for the first layer to T for the
    head, which never freezes. With the spacings "squared" and "cubic", each of these t_i / T is
    raised to the power of 2 or 3.
    The equation has no warm-up. If a run has a warm-up, the cosine starts after it, as in full
    training. A layer whose t_i falls into the warm-up starts its cosine at step 0.
    With a budget, T is the largest number of steps that costs at most the budget. Raises UserError
    if one step costs more than the budget.
    The original code assumes 1,000 steps per epoch, so its learning rates need not reach zero. Here
    T is the run's real number of steps. The defaults (t0 = 0.5, linear spacing, unscaled) are those
    of the SmartFRZ paper.
    FreezeOut's own defaults are t0 = 0.8, cubic spacing, scaled learning rates and SGD with
    Nesterov momentum (the run's `nesterov`). Its units are the blocks of a network instead of
    single layers. For a VGG, its head is the whole classifier. FreezeOut's code never counts the
    layers of a VGG, so it neither anneals nor freezes them.
    """

    name = "linear"
    look = ("#E69F00", "s")
    made_for = ("convolutional network",)
    options = {
        "t0": Real(
            0.5,
            low=0.0,
            high=1.0,
            doc="fraction of the T steps after which the first layer freezes, with linear spacing",
        ),
        "spacing": Choice(
            "linear",
            tuple(POWERS),
            doc="spacing of the steps t_i at which layers freeze; squared, cubic: each linear "
            "t_i / T is raised to the power of 2 or 3",
        ),
        "scaled": Flag(
            False, doc="start layer i at lr · T / t_i, so layers that freeze early learn faster"
        ),
        "saving": SAVING,
    }
    sets_learning_rates = True
    matches = True

    t0: float
    spacing: str
    scaled: bool
    saving: float

    def compute_freeze_steps(self, view: View, steps: int) -> list[int]:
        """Return t_i of every layer, in steps, for a run of `steps` steps.

        t_i is the number of steps after which the learning rate of layer i reaches zero.
        """
        last = len(view.layers) - 1
        shares = [*(self.t0 + (1 - self.t0) * i / last for i in range(last)), 1.0]
        power = POWERS[self.spacing]
        return [max(0, round(share**power * steps)) for share in shares]

    def total_steps(self, view: View) -> int:
        budget = resolve_budget(view, self.saving)
        if budget is None:
            return view.total_steps
        low, high = 1, 2
        while self._compute_cost(view, high) <= budget:
            high *= 2
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (
                (middle, high) if self._compute_cost(view, middle) <= budget else (low, middle)
            )
        if self._compute_cost(view, low) > budget + compute_rounding(view):
            raise make_budget_error(self.name, budget, self._compute_cost(view, 1), math.inf)
        return low

    def start(self, view: View) -> None:
        self._freeze_steps = self.compute_freeze_steps(view, view.total_steps)

    def stages(self) -> Cadence:
        return AtSteps(frozenset(self._freeze_steps[:-1]))

    def decide(self, view: View) -> Sequence[Decision]:
        return [
            Decision(layer, True, view.step, self._freeze_steps[layer])
            for layer in view.active
            if view.step >= self._freeze_steps[layer]
        ]

    def learning_rates(self, view: View) -> Sequence[float]:
        rates = []
        for freeze_step in self._freeze_steps:
            share = freeze_step / view.total_steps
            initial = view.base_lr / share if self.scaled and share else view.base_lr
            rise = view.warmup_steps if freeze_step > view.warmup_steps else 0.0
            done = min(max(view.step - rise, 0.0), freeze_step - rise)
            cosine = math.cos(math.pi * done / (freeze_step - rise)) if freeze_step else -1.0
            rates.append(0.5 * initial * (1 + cosine))
        return rates

    def _compute_cost(self, view: View, steps: int) -> float:
        freeze_at = dict(enumerate(self.compute_freeze_steps(view, steps)[:-1]))
        return compute_schedule_cost(view, freeze_at, steps)
