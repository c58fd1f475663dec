"""Similarity-guided freezing (Table 1 of SmartFRZ): freeze a layer when its CKA is stable."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from strategies.base import Cadence, Choice, Integer, PerEpoch, Real, Strategy, Verdict, View
from strategies.representations.reference import Reference

SPREADS: dict[str, Callable[[Tensor], Tensor]] = {
    "range": lambda last: last.amax(0) - last.amin(0),
    "std": lambda last: last.std(0),
    "drift": lambda last: (last[-1] - last[0]).abs(),
}


class CKAOracle(Strategy):
    """Oracle: freeze a layer when its CKA with a trained reference spreads by less than ε.

    The value before training is the first. Any layer may freeze before an earlier one. An oracle:
    it needs the model that training is meant to give.
    """

    name = "cka_oracle"
    look = ("#CC79A7", "v")
    options = {
        "k": Integer(3, low=2, high=1000, doc="values that must agree"),
        "epsilon": Real(0.01, low=0, high=1, doc="spread below which a layer freezes"),
        "spread": Choice(
            "range", choices=tuple(SPREADS), doc="how the k values' spread is measured"
        ),
        "estimator": Choice("unbiased", choices=("unbiased", "biased"), doc="HSIC₁, or eq. 5"),
        "samples": Integer(256, low=4, doc="training images on which outputs are compared"),
        "batch": Integer(64, low=4, doc="images compared at once"),
        "stages_per_epoch": Integer(1, low=1, doc="freezing stages an epoch"),
    }
    needs_reference = True

    k: int
    epsilon: float
    spread: str
    estimator: str
    samples: int
    batch: int
    stages_per_epoch: int

    def start(self, view: View) -> None:
        self._reference = Reference(view, self.samples, self.batch)
        self._steps: list[int] = []
        self._curves: list[Tensor] = []  # a (2, layers) tensor a stage, NaN for frozen layers
        self._measure(view)

    def stages(self) -> Cadence:
        return PerEpoch(self.stages_per_epoch)

    def decide(self, view: View) -> Sequence[Verdict]:
        if not view.active:
            return ()
        self._measure(view)
        if len(self._curves) < self.k:
            return ()
        row = 0 if self.estimator == "unbiased" else 1
        last = torch.stack([curve[row] for curve in self._curves[-self.k :]])
        spread = SPREADS[self.spread](last).tolist()
        return [Verdict(i, spread[i] < self.epsilon, spread[i], self.epsilon) for i in view.active]

    def _measure(self, view: View) -> None:
        values = torch.full((2, len(view.layers)), torch.nan, dtype=torch.float64)
        values[:, view.active] = self._reference.cka(view, view.active)
        self._steps.append(view.step)
        self._curves.append(values)

    def state_dict(self) -> dict[str, Any]:
        return {
            "steps": list(self._steps),
            "curves": torch.stack(self._curves),
            "flops": self._reference.flops,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._steps = list(state["steps"])
        self._curves = list(state["curves"].cpu().unbind())
        self._reference.flops = state["flops"]

    def cost(self) -> float:
        return self._reference.flops

    def trace(self) -> dict[str, Tensor]:
        curves = torch.stack(self._curves)
        return {
            "steps": torch.tensor(self._steps),
            "cka": curves[:, 0].contiguous(),
            "cka_biased": curves[:, 1].contiguous(),
        }
