"""Layer freezing of MosaicML's Composer: freeze a prefix that grows linearly with the epochs."""

from __future__ import annotations

from collections.abc import Sequence

from strategies.base import Cadence, Decision, PerEpoch, Real, Strategy, View


class Composer(Strategy):
    """Composer's layer freezing: the frozen prefix grows linearly in the last part of training.

    At the end of an epoch, the first int(level · (e − start) / (1 − start) · (n − 1)) of n layers
    freeze. e is the fraction of training that is done. level and start are the options
    `freeze_level` and `freeze_start`. Up to e = start, no layer freezes. The head is the last
    layer.

    Source: `LayerFreezing` of MosaicML's Composer (2021, github.com/mosaicml/composer). No paper
    describes it. The authors made it for image classification from scratch and report ResNet-50 on
    ImageNet and ResNet-56 on CIFAR-100. The defaults are theirs. As in the original, the expression
    is evaluated in floating point, so rounding can make the prefix one layer shorter.

    Differences from the original, whose faults are not repeated:

    - The original's unit is the module without children, so each BatchNorm counts as a layer. Here
      a BatchNorm belongs to its convolution.
    - The original takes modules in the order of registration. Here the order is that of execution.
    - In the original, the running statistics of a frozen BatchNorm keep changing. Here they stay
      constant.
    - In the original, parameters of containers (class token, in_proj_weight) never freeze. Here
      they belong to a layer.
    - The original cannot be resumed. Here it can.
    """

    name = "composer"
    look = ("#8C2D04", ">")
    made_for = ("convolutional network",)
    options = {
        "freeze_start": Real(
            0.5, low=0.0, high=1.0, doc="fraction of training before the first freeze"
        ),
        "freeze_level": Real(
            1.0, low=0.0, high=1.0, doc="fraction of the layers that is frozen at the end"
        ),
    }

    freeze_start: float
    freeze_level: float

    def stages(self) -> Cadence:
        return PerEpoch(1)

    def decide(self, view: View) -> Sequence[Decision]:
        count = self._count_frozen(view)
        return [Decision(layer, layer < count, layer, count) for layer in view.active]

    def _count_frozen(self, view: View) -> int:
        """Return how many leading layers are frozen at the current step."""
        done = view.step / view.total_steps
        if done <= self.freeze_start:
            return 0
        share = self.freeze_level * (done - self.freeze_start) / (1 - self.freeze_start)
        return int(share * (len(view.layers) - 1))
