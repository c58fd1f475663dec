"""Control: linear probe, which trains the head only.

A method that is no better than this control gains nothing from training the other layers.
"""

from __future__ import annotations

from collections.abc import Sequence

from bench.models.texts.lora import is_adapter
from strategies.base import AtSteps, Cadence, Decision, Strategy, View


class Probe(Strategy):
    """Linear probe: train the head only; every other layer is frozen before the first step.

    The LoRA adapters of a model `lora:NAME` also train. For that model, this control is plain LoRA.
    """

    name = "probe"
    look = ("#7F7F7F", "P")
    is_control = True

    def stages(self) -> Cadence:
        return AtSteps(frozenset({0}))

    def decide(self, view: View) -> Sequence[Decision]:
        body = [layer for layer in view.active if not is_adapter(view.layers[layer].name)]
        return [Decision(layer, freeze=True) for layer in body]
