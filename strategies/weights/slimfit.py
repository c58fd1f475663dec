"""SlimFit (Ardakani et al. 2023): freeze the layers whose weights moved least."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from strategies.base import Cadence, Decision, EverySteps, Real, Strategy, View


class SlimFit(Strategy):
    """SlimFit: before each step, freeze the layers whose weights moved least, a fixed share of all.

    The movement of a layer is d = mean(|w_new − w_old| / |w_old|) over its weights, in the last
    step that moved the layer. After every step, the int(share · L) layers with the smallest d
    freeze for the next step, and all other layers train. L is the number of layers without the
    head, which always trains. Layers with equal d freeze in the order of the model. Before the
    first step no d is known, so all layers train.
    d is exactly 0 in a step with learning rate 0 and in a step that a GradScaler skipped. It is
    also 0 for a factor of LoRA while the other factor is 0. A d of 0 gives no information, so the
    layer keeps its last d. This d is infinite if the layer has never moved.

    Source: Ardakani et al. (2023), "SlimFit: Memory-Efficient Fine-Tuning of Transformer-Based
    Models Using Training Dynamics", arXiv 2305.18513, and the authors' code
    (github.com/arashardakani/SlimFit). The authors made SlimFit for fine-tuning BERT and ViT. Their
    share is 0.9 for CIFAR-10, CoLA and MRPC, 0.75 for CIFAR-100 and 0.95 for ImageNet.

    Differences from the original, whose faults are not repeated:

    - The original begins with random d, so only some layers train in the first step. Here all
      layers do.
    - The original divides by weights that may be zero. Here weights that were zero are left out of
      the mean. As in the original, a layer whose weights are all zero counts as moving most.
    - The original leaves gradients at zero, so Adam's momentum still moves frozen weights. Here
      frozen weights never move.
    - In the original, biases always train. Here the unit is the layer, so a bias freezes with its
      weights.
    - The original also quantises and prunes saved activations, which is not freezing.

    The strategy keeps a copy of the weights of L layers, which the measured memory leaves out.
    """

    name = "slimfit"
    look = ("#B5651D", ">")
    made_for = ("vision transformer", "text classifier")
    switches_often = True
    keeps_optimizer_state = True
    options = {"share": Real(0.9, low=0.0, high=1.0, doc="share of the layers that are frozen")}

    share: float

    def start(self, view: View) -> None:
        self._body = range(len(view.layers) - 1)
        self._old = [[w.detach().clone() for w in view.weights(i)] for i in self._body]
        self._moved = torch.full((len(self._body),), torch.inf, device=view.device)

    def observations(self) -> Cadence:
        return EverySteps(1)

    def observe(self, view: View) -> None:
        for layer in view.active:
            new = view.weights(layer)
            moved = _measure_movement(self._old[layer], new)
            # A layer with d = 0 would freeze first, and its d would never be measured again.
            self._moved[layer] = torch.where(moved == 0, self._moved[layer], moved)
            for old, weight in zip(self._old[layer], new, strict=True):
                old.copy_(weight)

    def stages(self) -> Cadence:
        return EverySteps(1)

    def decide(self, view: View) -> Sequence[Decision]:
        order = torch.argsort(self._moved, stable=True).tolist()  # the only transfer of a step
        frozen = set(order[: int(self.share * len(order))])
        return [Decision(layer, layer in frozen) for layer in self._body]

    def cost(self) -> float:
        return 0.0  # elementwise work only, no products

    def state_dict(self) -> dict[str, Any]:
        return {"moved": self._moved, "old": self._old}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._moved.copy_(state["moved"])
        for mine, stored in zip(self._old, state["old"], strict=True):
            for old, weight in zip(mine, stored, strict=True):
                old.copy_(weight)


def _measure_movement(old: Sequence[Tensor], new: Sequence[Tensor]) -> Tensor:
    """Return the mean of |new − old| / |old| over the weights that were not zero (0-d tensor).

    old, new: tensors of one layer. The mean is infinite if all weights were zero, so that the layer
    trains. One factor of a LoRA adapter starts with weights of zero.
    """
    total = torch.zeros((), device=old[0].device)
    count = torch.zeros((), device=old[0].device)
    for before, after in zip(old, new, strict=True):
        known = before != 0
        total += torch.where(known, (after - before).abs() / before.abs(), 0.0).sum()
        count += known.sum()
    return torch.where(count > 0, total / count, torch.inf)
