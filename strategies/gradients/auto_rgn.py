"""Auto-RGN of surgical fine-tuning: learning rates and freezing depend on relative gradients."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from strategies.base import AtSteps, Cadence, Decision, Integer, Real, Strategy, View
from strategies.gradients.norms import compute_group_norms


class AutoRgn(Strategy):
    """Auto-RGN: scale the learning rate of a layer by ‖g‖ / ‖w‖, and freeze layers of low ratio.

    At the start of an epoch, the relative gradient of layer l is ‖g_l‖ / ‖w_l‖. Both are L2 norms
    over all parameters of the layer. The share of a layer is its relative gradient divided by the
    largest relative gradient of any layer, head included. Until the next epoch, the learning rate
    of the layer is its share times the learning rate of the run. The latter falls along a cosine.
    Layers whose share is below `cut` are frozen for the epoch. The head never freezes. A layer has
    the share 1 if its weights are all zero or its gradient is not finite.

    g is the gradient on a fixed probe of training samples, because frozen layers have no gradient
    from training. A layer can thaw at the start of any epoch.

    Source: Lee et al. (2023), "Surgical Fine-Tuning Improves Adaptation to Distribution Shifts",
    arXiv 2210.11466, and the authors' code (anniesch/surgical-finetuning, `auto_tune=RGN`). The
    authors made Auto-RGN for fine-tuning pretrained networks on few samples after a distribution
    shift. In a network at random initialisation, relative gradients say little about which layers
    must adapt.

    Differences from the original:

    - The original never freezes a tensor. The cut is an addition, and cut = 0 gives the original
      rule. With a cut of 0.1, often only a new head trains, because its relative gradient is
      largest.
    - The original's unit is the single tensor. Here the unit is the layer, biases and BatchNorm
      included. In the original, BatchNorm parameters never train, because its optimizer leaves them
      out.
    - The original computes gradients on the first five batches of the epoch, in train mode. This
      changes the running statistics of BatchNorm. Here the gradients are computed on a copy.
    - The original makes a new Adam for every epoch, which discards the moments. Here the optimizer
      stays.
    """

    name = "auto_rgn"
    look = ("#B2182B", "s")
    made_for = ("convolutional network",)
    options = {
        "cut": Real(
            0.01, low=0.0, high=1.0, doc="a layer freezes below this share of the largest ‖g‖ / ‖w‖"
        ),
        "samples": Integer(64, low=1, doc="training samples of the probe"),
    }
    sets_learning_rates = True
    needs_probe = "labels"

    cut: float
    samples: int

    def start(self, view: View) -> None:
        self._starts = frozenset(range(0, view.total_steps, view.steps_per_epoch))
        self._shares = [1.0] * len(view.layers)
        self._spent = 0.0

    def stages(self) -> Cadence:
        return AtSteps(self._starts)

    def decide(self, view: View) -> Sequence[Decision]:
        gradients, probe = view.probe_gradients(self.samples), view.probe(self.samples)
        self._spent += len(probe[0]) * view.count_flops(probe).exact().total
        weights = [view.weights(layer.index) for layer in view.layers]
        self._shares = _compute_shares(compute_group_norms(gradients), compute_group_norms(weights))
        return [
            Decision(layer.index, share < self.cut, share, self.cut)
            for layer, share in zip(view.layers, self._shares, strict=True)
            if not layer.head
        ]

    def learning_rates(self, view: View) -> Sequence[float]:
        rise = view.warmup_steps  # warm-up multiplies the rates afterwards
        done = max(view.step - rise, 0.0)
        rate = view.base_lr * 0.5 * (1 + math.cos(math.pi * done / (view.total_steps - rise)))
        return [rate * share for share in self._shares]

    def cost(self) -> float:
        return self._spent

    def state_dict(self) -> dict[str, Any]:
        return {"shares": self._shares, "spent": self._spent}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._shares, self._spent = list(state["shares"]), state["spent"]


def _compute_shares(gradients: Sequence[float], weights: Sequence[float]) -> list[float]:
    """Return the relative gradient of each layer, divided by the largest finite one.

    gradients, weights: norm of each layer. A layer has the share 1 if its relative gradient is not
    finite.
    """
    ratios = [g / w if w else math.inf for g, w in zip(gradients, weights, strict=True)]
    largest = max((ratio for ratio in ratios if math.isfinite(ratio)), default=0.0)
    return [ratio / largest if largest and math.isfinite(ratio) else 1.0 for ratio in ratios]
