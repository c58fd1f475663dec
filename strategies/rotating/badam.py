"""BAdam (Luo et al. 2024, arXiv 2404.02827): train one block at a time, in random order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from strategies.base import AtSteps, Cadence, Decision, Integer, Strategy, View
from strategies.blocks import group_by_block


class BAdam(Strategy):
    """BAdam: train one block at a time for K steps, in random order. The head always trains.

    A round trains each of the D blocks once. The order is drawn at the start of the round. The
    optimizer state of a block is cleared when the next block takes over.

    K = 0 selects the value that the authors suggest: min(max(n / (B·D), 50), 100), rounded down,
    for n samples and batches of B. n / B is the number of steps of an epoch.

    Source: Luo, Yu and Li (2024), "BAdam: A Memory Efficient Full Parameter Optimization Method for
    Large Language Models", arXiv 2404.02827, and the authors' code (github.com/Ledzy/BAdam). The
    authors made BAdam for fine-tuning language models of 8 and 70 billion parameters with Adam. Use
    `--optimizer adamw` for their setting.

    Differences from the original, whose faults are not repeated:

    - The defaults in the original's code differ from those in its README. The defaults here are
      those of the README.
    - The original leaves out the head by default, so a new head never trains. Here the head always
      trains and keeps its optimizer state.
    - The original leaves out the embeddings by default. Here they belong to the first block.
    - The original's unit is the decoder layer of a language model. Here it is the transformer
      block, or the layer in other networks.
    - A block that ends one round and begins the next one continues to train without a freeze. Its
      optimizer state is therefore not cleared between the rounds.
    """

    name = "badam"
    look = ("#7B3294", "D")
    made_for = ("language model",)
    switches_often = True
    options = {
        "K": Integer(
            0,
            low=0,
            doc="steps for each block; 0: steps per epoch / number of blocks, at least 50, at "
            "most 100",
        ),
    }

    K: int

    def start(self, view: View) -> None:
        self._blocks = group_by_block(view)[:-1]
        suggested = min(max(view.steps_per_epoch // max(len(self._blocks), 1), 50), 100)
        self._switches = AtSteps(frozenset(range(0, view.total_steps, self.K or suggested)))
        self._generator = view.generator(self.name)
        self._queue: list[int] = []  # blocks of this round that have not trained yet

    def stages(self) -> Cadence:
        return self._switches

    def decide(self, view: View) -> Sequence[Decision]:
        if not self._queue:
            self._queue = torch.randperm(len(self._blocks), generator=self._generator).tolist()
        current = self._queue.pop(0) if self._queue else None  # a head alone has no blocks
        return [
            Decision(layer, block != current)
            for block, own in enumerate(self._blocks)
            for layer in own
        ]

    def state_dict(self) -> dict[str, Any]:
        return {"generator": self._generator.get_state(), "queue": list(self._queue)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._generator.set_state(state["generator"].cpu())
        self._queue = list(state["queue"])
