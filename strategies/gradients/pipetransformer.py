"""PipeTransformer (He et al. 2021, arXiv 2102.03161): freeze leading blocks after each epoch."""

from __future__ import annotations

import math
from collections.abc import Sequence

from strategies.base import Cadence, Choice, Decision, PerEpoch, Real, Strategy, View
from strategies.blocks import group_by_block
from strategies.gradients.norms import compute_group_norms

# Margin for float rounding: 0.3 of 10 blocks is 3.0000000000000004, and 0.58 of 50 is 28.999…
ROUNDING = 1e-9


class PipeTransformer(Strategy):
    """PipeTransformer: each epoch, freeze blocks that precede the block with the smallest gradient.

    At the end of an epoch, the number f of frozen blocks becomes min(f + α (L − f), argmin ‖g_l‖
    over l ≥ f). The first term is rounded down. ‖g_l‖ is the L2 norm of the gradient of block l at
    the last step. L is the number of blocks without the head, which never freezes. With rule =
    "paper", no further block freezes if α (L − f) < 1. A block may have no gradient at the last
    step, for example if LayerDrop skipped it. Such a block is left out of the minimum. If no block
    has a gradient, none freezes.

    With rule = "code", the rule that the authors ran, f is ⌈L (1 − (1 − α)^e)⌉ after e epochs. This
    rule ignores the gradients and can freeze all L blocks.

    Source: He et al. (2021), "PipeTransformer: Automated Elastic Pipelining for Distributed
    Training of Transformers", and the authors' code (github.com/Distributed-AI/PipeTransformer).
    The authors made it for fine-tuning ViT and BERT. Their α is 1/2 by default, 1/3 for CIFAR-100
    and 0.07 for ImageNet. Only the freezing is reproduced, not the elastic pipeline or its cache.

    The authors' code also has a branch for gradients, which is switched off and faulty. This branch
    compares names of parameters with numbers of layers, so it never accumulates gradients. It also
    freezes one layer too many. The rule "paper" follows the text of the paper instead. The authors
    leave out the embeddings. Here the embeddings belong to block 0. In networks without transformer
    blocks, each layer is a block.
    """

    name = "pipetransformer"
    look = ("#5C7F00", "d")
    made_for = ("vision transformer", "text classifier")
    options = {
        "alpha": Real(
            0.5, low=0.0, high=1.0, doc="α: share of the remaining blocks that may freeze per epoch"
        ),
        "rule": Choice(
            "paper",
            ("paper", "code"),
            doc="paper: freeze only blocks before the one with the smallest gradient; code: freeze "
            "by the epoch alone",
        ),
    }

    alpha: float
    rule: str

    def stages(self) -> Cadence:
        return PerEpoch(1)

    def decide(self, view: View) -> Sequence[Decision]:
        blocks = group_by_block(view)[:-1]
        first = next((i for i, own in enumerate(blocks) if not view.frozen.issuperset(own)), None)
        if first is None:
            return ()
        if self.rule == "code":
            scores = [float(block) for block in range(first, len(blocks))]
            until = self._count_by_epoch(view, len(blocks))
            threshold = float(until)
        else:
            gradients = [
                [g for layer in own for g in view.gradients(layer)] for own in blocks[first:]
            ]
            scores = compute_group_norms(gradients)
            known = [score for score in scores if not math.isnan(score)]
            if not known:
                return ()
            threshold = min(known)
            limit = math.floor(first + self.alpha * (len(blocks) - first) + ROUNDING)
            until = min(limit, first + scores.index(threshold))
        return [
            Decision(layer, block < until, score, threshold)
            for block, score in enumerate(scores, first)
            for layer in blocks[block]
        ]

    def _count_by_epoch(self, view: View, blocks: int) -> int:
        """Return the number of frozen blocks by the rule of the authors' code.

        blocks: number of blocks without the head.
        """
        epochs = round(view.step / view.steps_per_epoch)
        count = blocks * (1 - (1 - self.alpha) ** epochs)
        return math.ceil(count - ROUNDING)
