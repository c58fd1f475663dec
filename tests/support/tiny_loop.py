"""Training loop with Freezing for a network of three layers, on random images.

The last layer of the network is the head.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.api import Freezing
from strategies.base import AtSteps, Cadence, Decision, Option, Strategy, Text, View
from tests.support.tiny_view import build_tiny_net

STEPS = 12


class Scripted(Strategy):
    """Strategy that freezes and thaws as its script says.

    The script "2+01 5-0" freezes layers 0 and 1 at step 2, and thaws layer 0 at step 5.
    """

    name = "scripted"
    options: ClassVar[Mapping[str, Option]] = {"script": Text("2+01", doc="freezes and thaws")}
    script: str

    def start(self, view: View) -> None:
        self._moves: dict[int, list[Decision]] = {}
        for word in self.script.split():
            sign = "+" if "+" in word else "-"
            step, _, layers = word.partition(sign)
            self._moves[int(step)] = [Decision(int(layer), sign == "+") for layer in layers]

    def stages(self) -> Cadence:
        return AtSteps(frozenset(self._moves))

    def decide(self, view: View) -> Sequence[Decision]:
        return self._moves[view.step]


def make_batch(step: int, samples: int = 4) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(step)
    return torch.randn(samples, 3, 8, 8, generator=generator), torch.arange(samples) % 5


class TinyLoop:
    """Training loop of the small network. settings: arguments of Freezing."""

    def __init__(
        self,
        strategy: str | Strategy = "scripted",
        optimizer: Any = None,
        model: nn.Module | None = None,
        **settings: Any,
    ) -> None:
        self.model = (model or build_tiny_net()).train()
        made = optimizer or (lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9))
        self.optimizer = made(self.model.parameters())
        values = {"example": make_batch(0)[0], "total_steps": STEPS, "steps_per_epoch": 4}
        if strategy == "scripted":
            strategy = Scripted(**settings.pop("options", {}))
        self.freezing = Freezing(self.model, self.optimizer, strategy, **{**values, **settings})

    def take_step(self, step: int) -> None:
        self.model.train()
        images, labels = make_batch(step)
        self.optimizer.zero_grad()
        loss = F.cross_entropy(self.model(images), labels)
        loss.backward()
        self.optimizer.step()
        self.freezing.step(loss)

    def train(self, begin: int = 0, end: int = STEPS) -> TinyLoop:
        for step in range(begin, end):
            self.take_step(step)
        return self

    def copy_layer(self, layer: int) -> dict[str, Tensor]:
        """Return copies of the parameters and buffers of a layer."""
        state = self.model.state_dict()
        modules = self.freezing.layers[layer].modules
        return {k: v.clone() for k, v in state.items() if k.rpartition(".")[0] in modules}
