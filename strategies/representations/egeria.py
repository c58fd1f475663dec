"""Egeria (Wang et al. 2023): freeze the first active block when its plasticity has settled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from strategies.base import Cadence, Decision, EverySteps, Integer, PerEpoch, Real, Strategy, View
from strategies.blocks import group_by_block
from strategies.representations.similarity import compute_plasticity

DROP = 0.1  # frozen blocks thaw when the learning rate has dropped to this share


class Egeria(Strategy):
    """Egeria: freeze the first active block when its distance to a snapshot (plasticity) settles.

    The plasticity of a block is ‖norm(AAᵀ) − norm(RRᵀ)‖²_F / b². A (b, features) are the outputs of
    the block on a probe of b samples, and R are those of a reference. norm divides each row by its
    L2 norm. The reference is a snapshot of the run. It is renewed at the end of every epoch, after
    the evaluation of the plasticity.

    Only the first active block, called the frontier, is evaluated. A moving average over the last 5
    values smooths its plasticity. At first the average covers fewer values. A line is fitted to the
    last 5 smoothed values. The frontier freezes after 3 evaluations in a row in which the absolute
    slope was at most 20 % of the first absolute slope of this block. The next block then starts
    with an empty history. The head never freezes.

    Evaluations start after a bootstrap phase. This phase ends with the first epoch whose mean
    training loss differs by less than 10 % from that of the epoch before. All blocks thaw when the
    learning rate is at most a tenth of its value at the first freeze. After a thaw, freezing starts
    again at the input. The condition of the next thaw uses the learning rate at the first freeze
    after this thaw.

    Source: Wang et al. (2023), "Egeria: Efficient DNN Training with Knowledge-Guided Layer
    Freezing", arXiv 2201.06227. This strategy follows a summary of the paper's rule. The summary
    was not checked against the paper's full text or code. The frequencies, the sizes of the probe
    and windows, and the 10 % of the bootstrap are choices made here. The authors made Egeria for
    long training from scratch with stepwise learning rates (ResNet, MobileNet, Transformer) and for
    fine-tuning BERT. A cosine schedule falls below a tenth near the end of training, so blocks thaw
    at that point.

    Differences from the original:

    - The original's reference is an int8 copy that runs on the CPU during training. Here the
      reference has full precision and runs on the device of the run. Its FLOPs are counted.
    - The original evaluates the outputs of modules (residual stages, encoder layers) on training
      batches. Here the unit is the transformer block, or the layer in other networks, and the
      samples are a fixed probe. The outputs are those of the last layer of a block, before the
      residual addition.
    - The original also caches the outputs of frozen blocks. Here this is an option of the run.
    """

    name = "egeria"
    look = ("#01665E", "^")
    made_for = ("convolutional network", "text classifier")
    needs_probe = "inputs"
    needs_loss = True
    options = {
        "evaluations": Integer(2, low=1, doc="evaluations of the plasticity per epoch"),
        "samples": Integer(64, low=2, doc="training samples of the probe"),
        "window": Integer(5, low=2, doc="values of the moving average and of the fitted slope"),
        "tolerance": Real(
            0.2, low=0.0, high=1.0, doc="a slope up to this share of the block's first is settled"
        ),
        "patience": Integer(3, low=1, doc="evaluations in a row within the tolerance"),
        "bootstrap": Real(
            0.1,
            low=0.0,
            high=1.0,
            doc="evaluations start when the mean loss of an epoch differs by less than this share "
            "from that of the epoch before",
        ),
    }

    evaluations: int
    samples: int
    window: int
    tolerance: float
    patience: int
    bootstrap: float

    def start(self, view: View) -> None:
        self._reference = view.snapshot()
        self._loss = torch.zeros((), device=view.device)  # sum over the steps of the epoch
        self._last_loss: float | None = None  # mean of the epoch before
        self._started = False
        self._frozen_lr: float | None = None  # learning rate at the first freeze
        self._spent = 0.0
        self._forget()

    def _forget(self) -> None:
        """Clear the history of the frontier, because another block becomes the frontier."""
        self._values: list[float] = []  # the last plasticities
        self._smoothed: list[float] = []
        self._first: float | None = None  # absolute value of the first slope
        self._below = 0  # evaluations in a row within the tolerance

    def observations(self) -> Cadence:
        return EverySteps(1)

    def observe(self, view: View) -> None:
        self._loss = self._loss + view.loss

    def stages(self) -> Cadence:
        return PerEpoch(self.evaluations)

    def decide(self, view: View) -> Sequence[Decision]:
        decisions: Sequence[Decision] = ()
        if self._frozen_lr is not None and view.lr <= DROP * self._frozen_lr:
            decisions = [Decision(layer, False, view.lr) for layer in sorted(view.frozen)]
            self._frozen_lr = None
            self._forget()
        elif self._started:
            decisions = self._decide_frontier(view)
        if view.step % view.steps_per_epoch == 0:
            self._end_epoch(view)
        return decisions

    def _end_epoch(self, view: View) -> None:
        """Renew the reference, and end the bootstrap phase if the loss has settled."""
        self._reference = view.snapshot()
        mean, before = float(self._loss) / view.steps_per_epoch, self._last_loss
        self._started |= before is not None and abs(before - mean) < self.bootstrap * abs(before)
        self._loss, self._last_loss = torch.zeros_like(self._loss), mean

    def _decide_frontier(self, view: View) -> list[Decision]:
        blocks = group_by_block(view)[:-1]
        frontier = next((own for own in blocks if not view.frozen.issuperset(own)), None)
        if frontier is None:
            return []
        slope = self._measure_slope(view, frontier[-1])
        if slope is None:
            return []
        self._first = slope if self._first is None else self._first
        threshold = self.tolerance * self._first
        self._below = self._below + 1 if slope <= threshold else 0
        settled = self._below >= self.patience
        if settled:
            self._frozen_lr = view.lr if self._frozen_lr is None else self._frozen_lr
            self._forget()
        return [Decision(layer, settled, slope, threshold) for layer in frontier]

    def _measure_slope(self, view: View, layer: int) -> float | None:
        """Return the absolute slope of the smoothed plasticity of a layer.

        Return None while fewer than `window` smoothed values exist.
        """
        probe = view.probe(self.samples)
        self._spent += 2 * len(probe[0]) * view.count_flops(probe).exact().forward
        now, then = view.outputs(probe)[layer], self._reference.outputs(probe)[layer]
        self._spent += 2 * 2.0 * len(now) * now.numel()
        self._values = [*self._values, compute_plasticity(now, then)][-self.window :]
        mean = sum(self._values) / len(self._values)
        self._smoothed = [*self._smoothed, mean][-self.window :]
        return abs(_fit_slope(self._smoothed)) if len(self._smoothed) == self.window else None

    def cost(self) -> float:
        return self._spent

    def state_dict(self) -> dict[str, Any]:
        state = {key: getattr(self, key) for key in _PLAIN}
        return state | {"reference": self._reference.state_dict(), "loss": self._loss}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        for key in _PLAIN:
            setattr(self, key, state[key])
        self._reference.load_state_dict(state["reference"])
        self._loss = state["loss"].to(self._loss)


_PLAIN = (
    "_last_loss", "_started", "_frozen_lr", "_spent", "_values", "_smoothed", "_first", "_below"
)  # fmt: skip


def _fit_slope(values: Sequence[float]) -> float:
    """Return the slope of the least-squares line through values at positions 0, 1, 2 and so on."""
    centre = (len(values) - 1) / 2
    weights = [i - centre for i in range(len(values))]
    pairs = zip(weights, values, strict=True)
    return sum(w * value for w, value in pairs) / sum(w * w for w in weights)
