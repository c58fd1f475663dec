"""Control: the first layers never train.

Freezing the first layers is a common practice in fine-tuning. A method that is no better than this
control gains nothing from deciding when a layer freezes.
"""

from __future__ import annotations

from bench.errors import UserError
from strategies.base import Integer, View
from strategies.budget import (
    SAVING,
    compute_rounding,
    compute_schedule_cost,
    make_budget_error,
    resolve_budget,
)
from strategies.fixed_schedule import FixedSchedule


class Prefix(FixedSchedule):
    """Freeze the first k layers, or as many as a FLOP budget requires, and train the others.

    Source: Lee et al. (2019), "What Would Elsa Do? Freezing Layers During Transformer Fine-Tuning".
    The authors freeze the embeddings and the first blocks. The unit here is the layer.

    - `k`: number of frozen layers. Without k and without a budget, half of the layers freeze.
    - `saving`: the shortest prefix that saves at least this share of full training's FLOPs.
    - `match`: the shortest prefix within the budget. Its last layer trains for as many steps as the
      budget allows, so the cost of the run equals that of the compared method.

    Raises UserError at the start if k includes the head, or if k and a budget are both given. Also
    raises it if the run would exceed the budget with only the head training.
    """

    name = "prefix"
    look = ("#17795E", "<")
    is_control = True
    options = {
        "k": Integer(
            0,
            low=0,
            high=10_000,
            doc="number of first layers that never train; 0: half of the layers, or as many as a "
            "budget (saving or match) requires",
        ),
        "saving": SAVING,
    }
    matches = True

    k: int
    saving: float

    def start(self, view: View) -> None:
        count = self.k or len(view.layers) // 2
        self._freeze_at = dict.fromkeys(range(count), 0)
        budget = resolve_budget(view, self.saving)
        if budget is not None:
            if self.k:
                raise UserError(
                    f"strategy prefix: k = {self.k} and a saving (or match) are given; remove one"
                )
            self._freeze_at = self._find_freeze_steps(view, budget)
        elif count >= len(view.layers):
            raise UserError(
                f"strategy prefix: k = {self.k} includes the head of a model of "
                f"{len(view.layers)} layers; give at most {len(view.layers) - 1}"
            )

    def _find_freeze_steps(self, view: View, budget: float) -> dict[int, int]:
        """Return the step after which each layer of the prefix freezes, by layer.

        budget: training FLOPs (exact) that the run may cost.
        """
        steps, body = view.total_steps, len(view.layers) - 1
        costs = [
            compute_schedule_cost(view, dict.fromkeys(range(count), 0), steps)
            for count in range(body + 1)
        ]
        # Rounding in the budget must not lengthen the prefix by a layer.
        slack = compute_rounding(view)
        count = next((n for n, cost in enumerate(costs) if cost <= budget + slack), None)
        if count is None:
            raise make_budget_error(self.name, budget, costs[body], costs[0])
        freeze_at = dict.fromkeys(range(count), 0)
        if view.budget is not None and count:
            # While the last layer trains, each step costs as much more as it does in a full run.
            a_step = (costs[count - 1] - costs[count]) / steps
            freeze_at[count - 1] = min(steps - 1, int((budget + slack - costs[count]) / a_step))
        return freeze_at
