"""APF (Chen et al. 2021): freeze layers whose updates cancel out, for growing periods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from strategies.base import Cadence, Decision, EverySteps, Integer, Real, Strategy, View

CROWDED = 0.8  # share of frozen layers above which the threshold halves


class APF(Strategy):
    """APF: freeze a layer for a period that grows while its updates cancel each other out.

    A round ends every `interval` steps. For each layer that trained in the round, Δ is the change
    of its weights over the round. The effective perturbation of a single weight is P = |EMA(Δ)| /
    EMA(|Δ|). EMA is an exponential moving average with the factor α. P of a layer is the mean over
    its weights that have moved. If P is below the threshold, the freezing period of the layer grows
    by one round. Otherwise it is halved and rounded down. The layer then freezes for its period,
    trains for one round, and P is computed again. At the end of a round, the threshold is halved if
    more than 80 % of the layers will be frozen in the next round. The head never freezes.

    Source: Chen et al. (2021), "Communication-Efficient Federated Learning with Adaptive Parameter
    Freezing", ICDCS 2021, and the authors' code (github.com/chenc10/APF_Release). The authors made
    APF for federated learning, where a round ends with an exchange of the weights. α = 0.99, the
    threshold 0.01 and rounds of 10 steps are theirs.

    Differences from the original:

    - The original's unit is the single weight. Here it is the layer. The P of pure noise settles
      near sqrt((1 − α) / (1 + α)), which is 0.07 for α = 0.99. A mean over many weights stays close
      to this value, so with the default threshold a layer rarely freezes.
    - In the original, the share of frozen weights decides when the threshold is halved. Here the
      share of frozen layers decides.
    - By default, the original's code also freezes weights at random. This is left out.

    The strategy keeps three tensors of the size of the weights (old weights and both averages),
    which the measured memory leaves out.
    """

    name = "apf"
    look = ("#6A51A3", "8")
    made_for = ("convolutional network",)
    switches_often = True
    keeps_optimizer_state = True
    options = {
        "interval": Integer(10, low=1, doc="steps of a round"),
        "alpha": Real(0.99, low=0.0, high=1.0, doc="factor of the exponential moving averages"),
        "threshold": Real(
            0.01,
            low=0.0,
            high=1.0,
            doc="effective perturbation |EMA(Δ)| / EMA(|Δ|) below which the freezing period grows",
        ),
    }

    interval: int
    alpha: float
    threshold: float

    def start(self, view: View) -> None:
        self._body = range(len(view.layers) - 1)
        self._old = [_flatten(view, layer) for layer in self._body]
        self._mean = [torch.zeros_like(old) for old in self._old]
        self._size = [torch.zeros_like(old) for old in self._old]
        self._period = [0] * len(self._body)
        self._left = [0] * len(self._body)  # rounds for which a layer stays frozen
        self._limit = self.threshold

    def stages(self) -> Cadence:
        return EverySteps(self.interval)

    def decide(self, view: View) -> Sequence[Decision]:
        trained = [layer for layer in self._body if not self._left[layer]]
        if trained:
            stable = (torch.stack([self._update(view, i) for i in trained]) < self._limit).tolist()
            for layer, calm in zip(trained, stable, strict=True):
                self._period[layer] = self._period[layer] + 1 if calm else self._period[layer] // 2
        for layer in self._body:
            self._left[layer] = self._period[layer] if layer in trained else self._left[layer] - 1
        if sum(map(bool, self._left)) > CROWDED * len(self._body):
            self._limit /= 2
        return [Decision(layer, bool(self._left[layer])) for layer in self._body]

    def _update(self, view: View, layer: int) -> torch.Tensor:
        """Update the averages of a layer that trained in the round. Return its P (0-d tensor)."""
        new = _flatten(view, layer)
        change = new - self._old[layer]
        self._old[layer] = new
        self._mean[layer].mul_(self.alpha).add_(change, alpha=1 - self.alpha)
        self._size[layer].mul_(self.alpha).add_(change.abs(), alpha=1 - self.alpha)
        size = self._size[layer]
        known = size > 0  # scalars that never moved are left out of the mean
        ratios = torch.where(known, self._mean[layer].abs() / size, 0.0)
        return ratios.sum() / known.sum()  # NaN, which is never below the limit, if none moved

    def state_dict(self) -> dict[str, Any]:
        return {
            "old": self._old,
            "mean": self._mean,
            "size": self._size,
            "period": list(self._period),
            "left": list(self._left),
            "limit": self._limit,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        for mine, stored in ((self._old, "old"), (self._mean, "mean"), (self._size, "size")):
            for tensor, value in zip(mine, state[stored], strict=True):
                tensor.copy_(value)
        self._period, self._left = list(state["period"]), list(state["left"])
        self._limit = state["limit"]


def _flatten(view: View, layer: int) -> torch.Tensor:
    """Return a copy of all weights of a layer as one vector."""
    return torch.cat([weight.detach().reshape(-1) for weight in view.weights(layer)])
