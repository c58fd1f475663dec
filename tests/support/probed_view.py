"""View whose weights, probe gradients, outputs, loss and learning rate a test sets directly."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from tests.support.hand_view import HandView

Arrays = dict[int, list[np.ndarray]]  # layer: its tensors


class HandSnapshot:
    """Replacement for bench.strategy_api.snapshot.ModelSnapshot."""

    def __init__(self, values: Arrays, seen: list[np.ndarray]) -> None:
        self.values, self.seen = values, seen

    def weights(self, layer: int) -> list[torch.Tensor]:
        return [torch.tensor(value) for value in self.values[layer]]

    def outputs(self, inputs: tuple[torch.Tensor, ...]) -> list[torch.Tensor]:
        return [torch.tensor(output) for output in self.seen]

    def state_dict(self) -> dict[str, Any]:
        return {"values": self.values, "seen": self.seen}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.values, self.seen = state["values"], state["seen"]


class ProbedView(HandView):
    """HandView with a probe.

    A test sets `values` (weights by layer), `probed` (gradients on the probe by layer), `loss` and
    `lr`. It also sets `seen`, a list of each layer's outputs on the probe. Snapshots share the
    numpy arrays, so a test must replace an array instead of writing to it.
    """

    def __init__(self, costs: list[int], blocks: list[int] | None = None, **values: Any) -> None:
        defaults: dict[str, Any] = {"values": {}, "probed": {}, "seen": [], "probe_size": 64}
        defaults |= {"loss": torch.tensor(float("nan")), "lr": 0.1}
        super().__init__(costs, blocks, **{**defaults, **values})

    frozen: frozenset[int]

    def weights(self, layer: int) -> list[torch.Tensor]:
        return [torch.tensor(value) for value in self.values[layer]]

    def probe(self, samples: int) -> tuple[torch.Tensor, ...]:
        return (torch.zeros(min(samples, self.probe_size), 1),)

    def probe_gradients(self, samples: int) -> list[list[torch.Tensor]]:
        return [[torch.tensor(g) for g in self.probed[layer.index]] for layer in self.layers]

    def outputs(self, inputs: tuple[torch.Tensor, ...]) -> list[torch.Tensor]:
        return [torch.tensor(output) for output in self.seen]

    def snapshot(self) -> HandSnapshot:
        return HandSnapshot(dict(self.values), list(self.seen))

    def apply(self, decisions: Any) -> frozenset[int]:
        """Freeze and thaw layers as decided, and return the frozen layers."""
        for decision in decisions:
            change = {decision.layer}
            self.frozen = self.frozen | change if decision.freeze else self.frozen - change
        return frozenset(self.frozen)


def draw_arrays(layers: int, numbers: np.random.Generator, spread: float = 2.0) -> Arrays:
    """Return one or two float32 arrays of normal numbers for every layer.

    spread: the scale of each array is 10 to a random power between -spread and spread.
    """
    return {
        layer: [
            (numbers.normal(size=size) * 10.0 ** numbers.uniform(-spread, spread)).astype("float32")
            for size in (layer % 7 + 1, 3)[: layer % 2 + 1]
        ]
        for layer in range(layers)
    }
