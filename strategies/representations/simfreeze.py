"""SimFreeze of ETuner: freeze a layer when its CKA with the initial model stops changing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from bench.errors import UserError
from strategies.base import Cadence, Choice, Decision, EverySteps, Integer, Real, Strategy, View
from strategies.representations.similarity import (
    compute_cka,
    compute_gram,
    estimate_hsic0,
    estimate_hsic1,
)

ESTIMATORS = {"biased": estimate_hsic0, "unbiased": estimate_hsic1}


class SimFreeze(Strategy):
    """SimFreeze: freeze a layer when its CKA with the initial model varies by less than 1 %.

    Every n steps, the CKA between each active layer and the same layer of the initial model is
    measured on a fixed probe. The variation of layer l is |c_l − c_l(previous)| / |c_l(previous)|.
    c_l is the CKA, and c_l(previous) is the CKA at the previous measurement. A layer freezes if its
    variation is below the tolerance. No layer freezes at the first measurement, which has no
    previous value. A layer may freeze before an earlier layer does. The head never freezes. While
    the output of a layer does not vary, its CKA is undefined and the layer does not freeze.

    Source: Li et al. (2024), "ETuner: A Redundancy-Aware Framework for Efficient Continual Learning
    Application on Edge Devices", arXiv 2401.16694. No code of the authors was found. This strategy
    follows a summary of the paper, which was not checked against the full text. The tolerance is
    that of the authors. The interval, the size of the probe and the relative form of the variation
    are choices made here.
    The authors designed SimFreeze for continual learning on edge devices, where a trained network
    is fine-tuned on a stream of data. With random initial weights, the initial model is a reference
    that has learned nothing.
    The unit is the layer, as in the original. A BatchNorm freezes with its layer, and the output of
    a layer is that of its BatchNorm.

    Differences from the original:

    - The original thaws layers when the scenario changes. A run here has one task, so no layer
      thaws.
    - The original compares with the model before the current fine-tuning. Here this is the model at
      step 0.
    """

    name = "simfreeze"
    look = ("#AE017E", "p")
    made_for = ("convolutional network", "vision transformer", "text classifier")
    needs_probe = "inputs"
    options = {
        "interval": Integer(40, low=1, doc="n: steps from one measurement to the next"),
        "tolerance": Real(
            0.01, low=0.0, high=1.0, doc="relative variation of CKA below which a layer freezes"
        ),
        "samples": Integer(64, low=4, doc="training samples on which outputs are compared"),
        "estimator": Choice(
            "biased", ("biased", "unbiased"), doc="biased: linear CKA; unbiased: with HSIC₁"
        ),
    }

    interval: int
    tolerance: float
    samples: int
    estimator: str

    def start(self, view: View) -> None:
        self._probe = view.probe(self.samples)
        self._count = len(self._probe[0])
        if self._count < 4:
            raise UserError(
                f"strategy {self.name}: CKA needs at least 4 training samples, but there are "
                f"{self._count}; increase train_limit"
            )
        self._spent = 0.0
        self._previous = torch.full((len(view.layers),), torch.nan, dtype=torch.float64)
        # Kernels of the initial model. They are part of the state, because a training that resumes
        # outside the harness may call `start` with weights that have moved.
        self._initial = self._compute_kernels(view, range(len(view.layers) - 1))

    def stages(self) -> Cadence:
        return EverySteps(self.interval)

    def decide(self, view: View) -> Sequence[Decision]:
        active = view.active
        if not active:
            return ()
        now = torch.full_like(self._previous, torch.nan)
        now[active] = self._measure(view, active)
        # NaN, as at the first measurement, is not below the tolerance.
        variation = ((now - self._previous).abs() / self._previous.abs()).tolist()
        self._previous = now
        return [
            Decision(layer, variation[layer] < self.tolerance, variation[layer], self.tolerance)
            for layer in active
        ]

    def _measure(self, view: View, layers: Sequence[int]) -> Tensor:
        """Return the CKA of some layers with the initial model: float64 (layers,) on the CPU."""
        kernels, hsic = self._compute_kernels(view, layers), ESTIMATORS[self.estimator]
        pairs = ((kernels[layer], self._initial[layer]) for layer in layers)
        return torch.stack([compute_cka([pair], hsic) for pair in pairs]).cpu()

    def _compute_kernels(self, view: View, layers: Sequence[int]) -> dict[int, Tensor]:
        """Return the kernel (rows, rows) of the outputs of each layer on the probe, by layer."""
        outputs = view.outputs(self._probe)
        self._spent += view.count_flops(self._probe).exact().forward * self._count
        self._spent += sum(2.0 * len(outputs[i]) * outputs[i].numel() for i in layers)
        return {layer: compute_gram(outputs[layer]) for layer in layers}

    def cost(self) -> float:
        return self._spent

    def state_dict(self) -> dict[str, Any]:
        return {"previous": self._previous, "spent": self._spent, "initial": self._initial}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._previous, self._spent = state["previous"].cpu(), state["spent"]
        self._initial = dict(state["initial"])
