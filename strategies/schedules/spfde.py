"""Layer freezing of SpFDE: freeze one block after another, as early as a FLOP target demands."""

from __future__ import annotations

from bisect import bisect_right

from strategies.base import Real, View
from strategies.blocks import group_by_block
from strategies.budget import (
    compute_full_cost,
    compute_rounding,
    compute_schedule_cost,
    make_budget_error,
)
from strategies.fixed_schedule import FixedSchedule


class Spfde(FixedSchedule):
    """SpFDE: freeze one block after another at equal intervals, from a start set by a FLOP target.

    L equal intervals divide the time from the start to the end of training. One block freezes at
    the end of each interval, in order from the input. The last of the L blocks is the head, which
    never freezes. The start is the latest step for which the training FLOPs (exact) are at most the
    target. The target is the budget of a matched run. For other runs it is (1 − saving) times full
    training's FLOPs.

    In most networks, intervals over the whole training save only about a third of the FLOPs. For a
    lower target, the start is negative. The first intervals then end before training, and their
    blocks never train. Raises UserError if even training the head alone costs more than the target.

    Source: Yuan et al. (2022), "Layer Freezing & Data Sieving: Missing Pieces of a Generic
    Framework for Sparse Training", arXiv 2209.11204. The authors' repository (snap-research/SpFDE)
    contains no code. This strategy follows the description in the SmartFRZ paper: a constant
    interval, and a start set by the FLOPs. The unit here is the transformer block, or the layer in
    other networks.

    Differences from the original:

    - The negative start is an addition.
    - The authors trained sparse ResNets from scratch on CIFAR and ImageNet, and also dropped
      training samples. Here the network is dense and all samples are used.
    """

    name = "spfde"
    look = ("#08519C", "*")
    made_for = ("convolutional network",)
    options = {
        "saving": Real(
            0.5,
            low=0.0,
            high=0.95,
            doc="share of full training's FLOPs to save, unless a sweep sets `match`",
        ),
    }
    matches = True

    saving: float

    def start(self, view: View) -> None:
        full = compute_full_cost(view)
        budget = (1 - self.saving) * full if view.budget is None else view.budget
        # Rounding in the budget must not move the start by a step.
        budget += compute_rounding(view)
        steps, body = view.total_steps, len(group_by_block(view)) - 1
        # At the first of these starts, every interval but the head's ends at step 0 or earlier.
        starts = range(-steps * body, steps + 1)

        def cost(start: int) -> float:
            return compute_schedule_cost(view, _schedule(view, start), steps)

        if budget < cost(starts[0]):
            raise make_budget_error(self.name, budget, cost(starts[0]), cost(steps))
        start = starts[bisect_right(starts, budget, key=cost) - 1]
        self._freeze_at = {
            layer: freeze_step
            for layer, freeze_step in _schedule(view, start).items()
            if freeze_step < steps
        }


def _schedule(view: View, start: int) -> dict[int, int]:
    """Return the step after which each layer freezes, by layer; the head is missing.

    start: step at which the first interval begins. It may be negative.
    """
    blocks = group_by_block(view)
    interval = (view.total_steps - start) / len(blocks)
    return {
        layer: max(0, round(start + (i + 1) * interval))
        for i, layers in enumerate(blocks[:-1])
        for layer in layers
    }
