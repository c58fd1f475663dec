"""LISA (Pan et al. 2024, arXiv 2403.17919): train a few random blocks at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from strategies.base import AtSteps, Cadence, Decision, Integer, Strategy, View
from strategies.blocks import find_embeddings, group_by_block


class Lisa(Strategy):
    """LISA: every K steps, draw the n blocks that train. Embeddings and head always train.

    At steps 0, K, 2K and so on, a random permutation of the blocks is drawn. Its first n blocks
    train until the next draw.

    Source: Pan et al. (2024), "LISA: Layerwise Importance Sampling for Memory-Efficient Large
    Language Model Fine-Tuning", arXiv 2403.17919, and the authors' code in LMFlow
    (github.com/OptimalScale/LMFlow). The authors made LISA for fine-tuning language models of 2 to
    70 billion parameters with AdamW. As in the original, frozen blocks keep their optimizer state
    (LMFlow issues 729 and 768), so LISA saves no optimizer memory. The memory reported for the run
    includes this state.

    Differences from the original, whose faults are not repeated:

    - The original draws from numpy's global generator. Here the draws have a generator of their
      own.
    - The original's optimizer covers only the parameters that are trainable when it is made. In
      some versions, blocks that are frozen at that time never train (ms-swift issue 10140). Here
      the optimizer covers all parameters.
    - The original's unit is the decoder layer of a language model. Here it is the transformer
      block. The embeddings are all layers before the first block. In networks without transformer
      blocks, the unit is the layer, and no layer counts as an embedding.
    - A layer between the last block and the head, such as BERT's pooler, belongs to the last block.
      In the original it always trains.
    """

    name = "lisa"
    look = ("#00838F", "v")
    made_for = ("language model",)
    keeps_optimizer_state = True
    switches_often = True
    options = {
        "n": Integer(2, low=1, doc="number of blocks that train at a time"),
        "K": Integer(20, low=1, doc="steps from one draw to the next"),
    }

    n: int
    K: int

    def start(self, view: View) -> None:
        embeddings = find_embeddings(view)
        self._blocks = [
            [layer for layer in own if layer not in embeddings] for own in group_by_block(view)[:-1]
        ]
        self._draws = AtSteps(frozenset(range(0, view.total_steps, self.K)))
        self._generator = view.generator(self.name)

    def stages(self) -> Cadence:
        return self._draws

    def decide(self, view: View) -> Sequence[Decision]:
        order = torch.randperm(len(self._blocks), generator=self._generator)
        drawn = set(order[: self.n].tolist())
        return [
            Decision(layer, block not in drawn)
            for block, own in enumerate(self._blocks)
            for layer in own
        ]

    def state_dict(self) -> dict[str, Any]:
        return {"generator": self._generator.get_state()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._generator.set_state(state["generator"].cpu())
