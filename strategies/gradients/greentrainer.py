"""GreenTrainer: train the layers of largest importance that fit into a FLOP limit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from bench.errors import UserError
from strategies.base import AtSteps, Cadence, Decision, Integer, ModelSnapshot, Real, Strategy, View

PerLayer = Sequence[float]


class GreenTrainer(Strategy):
    """GreenTrainer: train only the most important layers, as many as a FLOP limit allows.

    Every second epoch, the importance of layer l is I_l = −Σ g(w + Δw) · Δw, divided by max |I|. Δw
    is the change of its weights in one training step in which all layers train. g(w + Δw) is the
    gradient after that step, on a probe of labelled training samples. Dynamic programming then
    chooses the layers with the largest sum of importance. A training step with these layers costs
    at most ρ times the FLOPs of full training. The other layers freeze until the next choice. The
    head always trains.
    The step that gives Δw moves no weight if its learning rate is 0 or if a GradScaler skips it.
    All layers then continue to train, and the choice is made after the first step that moves a
    weight.

    A chosen layer costs t_dw, the FLOPs for the gradient of its weights. Every layer behind the
    first chosen layer costs t_dy, the FLOPs for the gradient of its inputs. In a network with
    branches, t_dy is an upper bound, so the limit holds. Raises UserError if the forward pass and
    the head alone exceed the limit. The FLOPs of probes, and of the steps in which all layers
    train, are counted but not limited.

    Source: Huang et al. (2024), "Towards Green AI in Fine-tuning Large Language Models via Adaptive
    Backpropagation", arXiv 2309.13192, and the authors' code (pittisl/GreenTrainer). The authors
    made GreenTrainer for fine-tuning large pretrained language models (OPT, BLOOM, FLAN-T5) with
    AdamW. The interval is theirs, and they report ρ = 0.5 and ρ = 0.7. Their limit also includes
    the forward pass. As in the original, frozen layers keep their optimizer state, so GreenTrainer
    saves no optimizer memory. The memory reported for the run includes this state.

    Differences from the original, whose faults are not repeated:

    - The original's two probe steps change the moments of Adam. It restores the weights, but not
      the moments. Here Δw comes from an ordinary step of the run, and g from a copy of the model.
    - If ρ is too low, the original uses a larger one and only prints a message. Here this is an
      error.
    - The original rounds costs to a thousandth of the total. Here costs are not rounded.
    - The original's unit is the single tensor, embeddings and head included. Here it is the layer.
    """

    name = "greentrainer"
    look = ("#1B7837", "*")
    made_for = ("language model",)
    needs_probe = "labels"
    keeps_optimizer_state = True
    options = {
        "rho": Real(
            0.5, low=0.0, high=1.0, doc="ρ: limit on a step's FLOPs, as a share of full training's"
        ),
        "interval": Integer(2, low=1, doc="epochs from one choice to the next"),
        "samples": Integer(64, low=1, doc="labelled training samples of the probe"),
    }

    rho: float
    interval: int
    samples: int

    def start(self, view: View) -> None:
        self._spent = 0.0
        # A choice follows the first step of an interval, in which all layers train.
        step, last = self.interval * view.steps_per_epoch, view.total_steps - 1
        if step == 1:
            raise UserError(
                f"strategy {self.name}: the interval has a single step, in which all layers train, "
                "so nothing could freeze; give a longer interval"
            )
        self._choices = frozenset(range(1, last + 1, step))
        self._thaws = frozenset(step - 1 for step in self._choices) - {0}
        self._late: frozenset[int] = frozenset()  # the step of a choice that had to wait
        self._take_snapshot = view.snapshot
        self._before: ModelSnapshot | None = view.snapshot()
        self._lay_out_costs(view)

    def _lay_out_costs(self, view: View) -> None:
        """Compute the FLOPs per sample of training each layer, and the FLOPs that remain for this.

        The FLOPs of the forward pass and of the head are subtracted from the limit first.
        """
        flops, body = view.flops, range(len(view.layers) - 1)
        least = flops.exact(body).total
        self._limit = self.rho * flops.exact().total * (1 + 1e-12) - least
        if self._limit < 0:
            raise UserError(
                f"strategy {self.name}: rho = {self.rho} is too low, because the forward pass and "
                f"the head cost {least / flops.exact().total:.3f} of full training; give a "
                "larger rho"
            )
        # FLOPs if all layers from layer i on train, without the gradients of their own weights.
        self._own = [flops.exact_forward(layer) for layer in body]
        self._shared = [flops.exact(range(i)).total - least - sum(self._own[i:]) for i in body]

    def stages(self) -> Cadence:
        return AtSteps(self._thaws | self._choices | self._late)

    def decide(self, view: View) -> Sequence[Decision]:
        if view.step in self._thaws:
            self._before = view.snapshot()
            return [Decision(layer, False) for layer in sorted(view.frozen)]
        if not self._has_moved(view):
            soon = view.step + 1
            self._late = frozenset({soon} if soon < view.total_steps else ())
            return ()
        gains = self._measure_importance(view)
        chosen = choose_layers(gains, self._own, self._shared, self._limit)
        return [Decision(layer, layer not in chosen, gain) for layer, gain in enumerate(gains)]

    def _has_moved(self, view: View) -> bool:
        """Return whether a weight differs from the snapshot, with a single copy from the device."""
        assert self._before is not None  # a thaw, or the start, precedes each choice
        changed = [
            (weight != old).any()
            for layer in range(len(view.layers))
            for weight, old in zip(view.weights(layer), self._before.weights(layer), strict=True)
        ]
        return bool(torch.stack(changed).any())

    def _measure_importance(self, view: View) -> list[float]:
        """Return the importance of each layer but the head, with a single copy from the device."""
        assert self._before is not None
        gradients, probe = view.probe_gradients(self.samples), view.probe(self.samples)
        self._spent += len(probe[0]) * view.count_flops(probe).exact().total
        sums = []
        for layer, own in enumerate(gradients):
            moved = zip(own, view.weights(layer), self._before.weights(layer), strict=True)
            products = [(g.double() * (old - w.double())).sum() for g, w, old in moved]
            sums.append(torch.stack(products).sum())
        self._before = None
        importance = torch.stack(sums).tolist()
        largest = max(map(abs, importance)) or 1.0
        return [value / largest for value in importance[:-1]]

    def cost(self) -> float:
        return self._spent

    def state_dict(self) -> dict[str, Any]:
        before = self._before and self._before.state_dict()
        return {"before": before, "spent": self._spent, "late": sorted(self._late)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._spent, self._late = state["spent"], frozenset(state.get("late", ()))
        # The snapshot of now may be gone, or another state may hold its tensors.
        self._before = None if state["before"] is None else self._take_snapshot()
        if self._before is not None:
            self._before.load_state_dict(state["before"])


def choose_layers(gains: PerLayer, own: PerLayer, shared: PerLayer, limit: float) -> set[int]:
    """Return the layers with the largest sum of gains whose cost is at most `limit`.

    gains, own, shared: one number per layer, without the head, in order from the input. own, shared
    and limit are in FLOPs per sample. The cost is the sum of own[l] over the chosen layers, plus
    shared[d]. Layer d is the chosen layer nearest to the input. shared must not increase with the
    index of the layer. Layers without a positive gain are not chosen. If several sets have the same
    sum of gains, the first set found is returned.

    The dynamic programme goes from the head to the input. It drops a set of layers if another set
    costs no more and gains at least as much. The result is exact, because costs are not rounded.
    """
    sets, winner = [(0.0, 0.0, 0)], (0.0, 0.0, 0)  # cost, gain, bit mask of the layers
    for layer in reversed(range(len(gains))):
        room = limit - shared[layer]
        added = [
            (cost + own[layer], gain + gains[layer], chosen | 1 << layer)
            for cost, gain, chosen in sets
            if gains[layer] > 0 and cost + own[layer] <= room
        ]
        winner = max((winner, *added), key=lambda kept: kept[1])
        sets = _drop_beaten([kept for kept in sets if kept[0] <= room] + added)
    return {layer for layer in range(len(gains)) if winner[2] >> layer & 1}


def _drop_beaten(sets: list[tuple[float, float, int]]) -> list[tuple[float, float, int]]:
    """Return the sets of layers in order of cost, without the dominated ones.

    sets: (cost, gain, bit mask of the layers). A set is dominated if another set costs no more and
    gains at least as much.
    """
    kept: list[tuple[float, float, int]] = []
    for candidate in sorted(sets, key=lambda chosen: (chosen[0], -chosen[1])):
        if not kept or candidate[1] > kept[-1][1]:
            kept.append(candidate)
    return kept
