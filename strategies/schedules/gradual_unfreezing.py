"""Gradual unfreezing of ULMFiT: train the head first, then one block more per epoch."""

from __future__ import annotations

from collections.abc import Sequence

from strategies.base import AtSteps, Cadence, Decision, Strategy, View
from strategies.blocks import group_by_block


class GradualUnfreezing(Strategy):
    """ULMFiT's gradual unfreezing: train the head first and thaw one more block per epoch.

    Every layer but the head freezes before training. After each epoch, the last frozen block thaws
    and then trains until the end. If the run has fewer epochs than the model has blocks, head
    included, the blocks nearest to the input never train.

    Source: Howard and Ruder (2018), "Universal Language Model Fine-tuning for Text Classification",
    arXiv 1801.06146. The authors' code is in fastai (`freeze_to`). The authors fine-tune a
    pretrained AWD-LSTM as a text classifier, for more epochs than the model has groups of layers.
    Use pretrained weights, because a block at random initialisation would stay random until it
    thaws.

    Differences from the original:

    - The paper combines the schedule with discriminative learning rates and slanted triangular
      rates. Here all layers have the learning rate of the run.
    - The original's unit is one LSTM layer. Here it is the transformer block, or the layer in other
      networks.
    - fastai keeps training the BatchNorm of frozen layers. Here a BatchNorm freezes with its layer.
    """

    name = "gradual_unfreezing"
    look = ("#C51B8A", "H")
    made_for = ("text classifier",)

    def start(self, view: View) -> None:
        body = group_by_block(view)[:-1]
        self._body = [layer for layers in body for layer in layers]
        thaw_steps = range(view.steps_per_epoch, view.total_steps, view.steps_per_epoch)
        # More epochs than blocks leave steps without a block, and the other way round.
        self._thaws = dict(zip(thaw_steps, reversed(body), strict=False))

    def stages(self) -> Cadence:
        return AtSteps(frozenset({0, *self._thaws}))

    def decide(self, view: View) -> Sequence[Decision]:
        if view.step == 0:
            return [Decision(layer, True) for layer in self._body]
        return [Decision(layer, False, view.step) for layer in self._thaws[view.step]]
