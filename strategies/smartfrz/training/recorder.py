"""Recorder of training data for the predictor: snapshots of weights, and CKA values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from bench.errors import UserError
from strategies.base import Cadence, Decision, Flag, Integer, PerEpoch, Strategy, View
from strategies.representations.reference import Reference
from strategies.smartfrz.features import SchedulePosition
from strategies.smartfrz.tailoring import Tailor


class Record(Strategy):
    """Full training that records tailored weights and CKA with a trained reference.

    The run's `trace.safetensors` holds T snapshots and S CKA measurements of L layers, all but the
    head. The first snapshot and the first measurement are taken before the first step.

    snapshots (T, L, n): tailored weights.
    progress (T,): fraction of the run done at a snapshot.
    rate (T,): learning rate at a snapshot, as a fraction of the largest learning rate.
    cka (S, L): CKA by HSIC₁, averaged over batches.
    cka_biased (S, L): CKA by eq. 5 of SmartFRZ over all samples.
    probes (S,): fraction of the run done at a CKA measurement.

    With the option `gradient`, the file also holds the gradient of one step for the largest weight
    tensor outside the head. The step is the first snapshot step at or after the middle of the run.
    If a run diverges before that step, the file has neither of these tensors:

    gradient (size,): values of the gradient.
    gradient_layer (): index of its layer.
    """

    name = "record"
    options = {
        "tailored": Integer(1024, low=8, high=65536, doc="n, weights sampled per layer"),
        "snapshots_per_epoch": Integer(6, low=1, high=1000, doc="snapshots per epoch"),
        "probes_per_epoch": Integer(2, low=1, high=1000, doc="CKA measurements per epoch"),
        "samples": Integer(256, low=4, doc="training samples on which outputs are compared"),
        "batch": Integer(64, low=4, doc="samples per batch; HSIC₁ is averaged over the batches"),
        "gradient": Flag(False, doc="record the largest layer's gradient halfway through the run"),
    }
    needs_reference = True
    needs_probe = "inputs"

    tailored: int
    snapshots_per_epoch: int
    probes_per_epoch: int
    samples: int
    batch: int
    gradient: bool

    def start(self, view: View) -> None:
        self._layers = view.active
        if not self._layers:
            raise UserError(
                f"strategy {self.name}: the model has no layer but its head, so there is nothing "
                "to record; use a model of several layers"
            )
        self._largest = max(self._layers, key=lambda i: view.weights(i)[0].numel())
        self._gradient: Tensor | None = None
        self._tailor = Tailor(
            [view.parameters(layer.index)[0] for layer in view.layers],
            self.tailored,
            view.generator("tailoring"),
        )
        self._reference = Reference(view, self.samples, self.batch, biased=True)
        self._snapshots: list[Tensor] = []
        self._positions: list[tuple[float, float]] = []
        self._cka: list[Tensor] = []
        self._measured_at: list[float] = []  # fractions of the run
        self.observe(view)
        self.decide(view)

    def observations(self) -> Cadence:
        return PerEpoch(self.snapshots_per_epoch)

    def observe(self, view: View) -> None:
        snapshot = torch.empty(len(self._layers), self.tailored, device=view.device)
        self._tailor.take(self._layers, snapshot)
        self._snapshots.append(snapshot)
        position = SchedulePosition.of(view)
        self._positions.append((position.progress, position.rate))
        if self.gradient and self._gradient is None and 2 * view.step >= view.total_steps:
            weight = view.gradients(self._largest)[0]
            self._gradient = weight.flatten().to(torch.float32, copy=True)

    def stages(self) -> Cadence:
        return PerEpoch(self.probes_per_epoch)

    def decide(self, view: View) -> Sequence[Decision]:
        self._cka.append(self._reference.cka(view, self._layers))
        self._measured_at.append(view.step / view.total_steps)
        return ()

    def state_dict(self) -> dict[str, Any]:
        return {
            "snapshots": torch.stack(self._snapshots),
            "moments": list(self._positions),
            "cka": torch.stack(self._cka),
            "probes": list(self._measured_at),
            "flops": self._reference.flops,
            "gradient": self._gradient,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._snapshots = list(state["snapshots"].unbind())
        self._positions = [(progress, rate) for progress, rate in state["moments"]]
        self._cka = list(state["cka"].cpu().unbind())
        self._measured_at = list(state["probes"])
        self._reference.flops = state["flops"]
        self._gradient = state.get("gradient")

    def cost(self) -> float:
        return self._reference.flops

    def trace(self) -> dict[str, Tensor]:
        curves = torch.stack(self._cka)
        positions = torch.tensor(self._positions, dtype=torch.float64)
        trace = {
            "snapshots": torch.stack(self._snapshots).cpu(),
            "progress": positions[:, 0].contiguous(),
            "rate": positions[:, 1].contiguous(),
            "cka": curves[:, 0].contiguous(),
            "cka_biased": curves[:, 1].contiguous(),
            "probes": torch.tensor(self._measured_at, dtype=torch.float64),
        }
        if self._gradient is not None:
            trace["gradient"] = self._gradient.cpu()
            trace["gradient_layer"] = torch.tensor(self._largest)
        return trace
