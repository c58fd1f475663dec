"""The "freeze training" of the SVCCA paper: freeze one block after another at equal intervals."""

from __future__ import annotations

from strategies.base import View
from strategies.blocks import group_by_block
from strategies.fixed_schedule import FixedSchedule


class Svcca(FixedSchedule):
    """SVCCA's freeze training: freeze one block after another at equal intervals.

    L equal intervals divide the whole training. One block freezes at the end of each interval, in
    order from the input. The last of the L blocks is the head. Its interval ends with the training,
    so the head never freezes.

    Source: Raghu et al. (2017), "SVCCA: Singular Vector Canonical Correlation Analysis for Deep
    Learning Dynamics and Interpretability", arXiv 1706.05806. The authors' code (google/svcca)
    compares representations and contains no freeze training. Equal intervals over the whole
    training are a choice made here. The schedule itself computes no SVCCA. The authors trained a
    small convolutional network and a ResNet on CIFAR-10 from scratch. The unit here is the
    transformer block, or the layer in other networks. A BatchNorm freezes with its convolution,
    including its running statistics.
    """

    name = "svcca"
    look = ("#3F007D", "8")
    made_for = ("convolutional network",)

    def start(self, view: View) -> None:
        blocks = group_by_block(view)
        self._freeze_at = {
            layer: round((i + 1) * view.total_steps / len(blocks))
            for i, layers in enumerate(blocks[:-1])
            for layer in layers
        }
