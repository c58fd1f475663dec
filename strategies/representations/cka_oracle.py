"""Similarity-guided freezing (SmartFRZ, Table 1): freeze a layer when its CKA is stable."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from strategies.base import Cadence, Choice, Decision, Integer, PerEpoch, Real, Strategy, View
from strategies.representations.reference import Reference

SPREADS: dict[str, Callable[[Tensor], Tensor]] = {
    "range": lambda last: last.amax(0) - last.amin(0),
    "std": lambda last: last.std(0),
    "drift": lambda last: (last[-1] - last[0]).abs(),
}


class CKAOracle(Strategy):
    """Oracle: freeze a layer when its CKA with a trained reference varies by less than ε.

    A layer's CKA is measured once before training, and then at each freezing stage. The variation
    is the spread of the last k values. A layer may freeze before an earlier layer does. The method
    is an oracle because it needs a fully trained model of the same task.
    CKA by eq. 5 of SmartFRZ is biased upwards if a layer has more features than the probe has
    samples. By default, decisions therefore use the unbiased estimator HSIC₁.
    """

    name = "cka_oracle"
    look = ("#CC79A7", "v")
    made_for = ("convolutional network",)
    options = {
        "k": Integer(3, low=2, high=1000, doc="number of CKA values that are compared"),
        "epsilon": Real(0.01, low=0, high=1, doc="spread below which a layer freezes"),
        "spread": Choice(
            "range", choices=tuple(SPREADS), doc="measure of the spread of the last k CKA values"
        ),
        "estimator": Choice(
            "unbiased",
            choices=("unbiased", "biased"),
            doc="estimator of CKA; unbiased: HSIC₁, biased: eq. 5 of SmartFRZ",
        ),
        "samples": Integer(256, low=4, doc="training samples on which outputs are compared"),
        "batch": Integer(64, low=4, doc="samples per batch; HSIC₁ is averaged over the batches"),
        "stages_per_epoch": Integer(1, low=1, doc="freezing stages per epoch"),
    }
    needs_reference = True
    needs_probe = "inputs"

    k: int
    epsilon: float
    spread: str
    estimator: str
    samples: int
    batch: int
    stages_per_epoch: int

    def start(self, view: View) -> None:
        self._reference = Reference(
            view, self.samples, self.batch, biased=self.estimator == "biased"
        )
        self._steps: list[int] = []
        self._curves: list[Tensor] = []  # one (2, layers) tensor per stage, NaN for frozen layers
        self._measure(view)

    def stages(self) -> Cadence:
        return PerEpoch(self.stages_per_epoch)

    def decide(self, view: View) -> Sequence[Decision]:
        if not view.active:
            return ()
        self._measure(view)
        if len(self._curves) < self.k:
            return ()
        row = 0 if self.estimator == "unbiased" else 1
        last = torch.stack([curve[row] for curve in self._curves[-self.k :]])
        spread = SPREADS[self.spread](last).tolist()
        return [Decision(i, spread[i] < self.epsilon, spread[i], self.epsilon) for i in view.active]

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
        trace = {"steps": torch.tensor(self._steps), "cka": curves[:, 0].contiguous()}
        if self.estimator == "biased":  # otherwise it is not computed
            trace["cka_biased"] = curves[:, 1].contiguous()
        return trace
