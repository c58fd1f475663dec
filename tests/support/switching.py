"""Strategies for tests that freeze a different set of layers at every step."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch

from strategies.base import (
    Cadence,
    Decision,
    EverySteps,
    Integer,
    ModelSnapshot,
    Option,
    Strategy,
    View,
)


class RandomSets(Strategy):
    """Strategy that freezes a random set of layers at every step. The head always trains."""

    name = "random_sets"
    options: ClassVar[Mapping[str, Option]] = {
        "sets": Integer(0, low=0, doc="number of sets; 0: a new one a step")
    }
    switches_often = True
    sets: int

    def start(self, view: View) -> None:
        self.generator = view.generator(self.name)

    def stages(self) -> Cadence:
        return EverySteps(1)

    def decide(self, view: View) -> Sequence[Decision]:
        generator = self.generator
        if self.sets:
            generator = torch.Generator().manual_seed(view.step % self.sets)
        frozen = torch.rand(len(view.layers) - 1, generator=generator) < 0.5
        return [Decision(i, bool(freeze)) for i, freeze in enumerate(frozen)]

    def state_dict(self) -> dict[str, Any]:
        return {"generator": self.generator.get_state()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.generator.set_state(state["generator"].cpu())


class KeptSets(RandomSets):
    """Strategy that freezes random sets of layers and keeps the optimizer state of these layers."""

    name = "kept_sets"
    keeps_optimizer_state = True


class Observing(RandomSets):
    """Strategy whose decisions depend on a snapshot, the losses and gradients on the probe.

    A resumed run must restore the snapshot and the losses.
    """

    name = "observing"
    sets_learning_rates = True

    def start(self, view: View) -> None:
        super().start(view)
        self.reference, self.spent, self.losses = view.snapshot(), 0.0, torch.zeros(())

    def observations(self) -> Cadence:
        return EverySteps(1)

    def observe(self, view: View) -> None:
        self.losses = 0.5 * self.losses.to(view.loss) + view.loss

    def learning_rates(self, view: View) -> Sequence[float]:
        loss = 0.0 if view.step == 0 else float(view.loss)
        return [view.lr / (1 + loss)] * len(view.layers)

    def decide(self, view: View) -> Sequence[Decision]:
        probe = view.probe(8)
        pairs = zip(view.outputs(probe), self.reference.outputs(probe), strict=True)
        moved = torch.stack([(a - b).norm() * self.losses for a, b in pairs])
        slopes = torch.stack([torch.stack([g.norm() for g in layer]).norm()
                              for layer in view.probe_gradients(8)])  # fmt: skip
        self.spent += 8 * (2 * view.flops.exact().forward + view.flops.exact().total)
        if view.step % 3 == 0:
            self.reference = view.snapshot()
        scores = (moved * slopes)[:-1]
        return [Decision(i, s, float(scores[i])) for i, s in enumerate(scores < scores.median())]

    def cost(self) -> float:
        return getattr(self, "spent", 0.0)

    def state_dict(self) -> dict[str, Any]:
        own = {"reference": self.reference.state_dict(), "spent": self.spent, "losses": self.losses}
        return super().state_dict() | own

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        assert isinstance(self.reference, ModelSnapshot)
        self.reference.load_state_dict(state["reference"])
        self.spent, self.losses = state["spent"], state["losses"]
