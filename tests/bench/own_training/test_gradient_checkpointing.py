"""Tests of gradient checkpointing with Freezing: an error names each layer that does not train."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from timm import create_model
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from bench.api import Freezing
from bench.errors import UserError
from tests.support.tiny_loop import TinyLoop, make_batch


class Blocks(nn.Module):
    """Network of a stem, two blocks and a head. In train mode, `call` runs the blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 5)
        self.blocks = nn.ModuleList(nn.Sequential(nn.Conv2d(4, 4, 3), nn.ReLU()) for _ in range(2))

    def forward(self, images: Tensor) -> Any:
        x = self.stem(images)
        for block in self.blocks:
            x = self.call(block, x) if self.training else block(x)
        return self.head(x.mean((2, 3)))

    def call(self, block: nn.Module, x: Tensor) -> Any:
        return block(x)


class Reentrant(Blocks):
    def call(self, block: nn.Module, x: Tensor) -> Any:
        return checkpoint(block, x, use_reentrant=True)


class Modern(Blocks):
    def call(self, block: nn.Module, x: Tensor) -> Any:
        return checkpoint(block, x, use_reentrant=False)


class ReentrantInEval(Reentrant):
    def forward(self, images: Tensor) -> Any:
        return self.head(self.call(self.blocks[0], self.stem(images)).mean((2, 3)))


class Dropping(Blocks):
    """LayerDrop: only the first four batches use the first block."""

    batches = 0

    def forward(self, images: Tensor) -> Any:
        self.batches += self.training
        return super().forward(images)

    def call(self, block: nn.Module, x: Tensor) -> Any:
        return x if block is self.blocks[0] and self.batches > 4 else block(x)


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
@pytest.mark.parametrize("script", ["2+0", "0+0", "2+0 3+2", "2+2 5+0"])
def test_blocks_that_lose_their_gradients_are_reported(script: str) -> None:
    """Expect an error in the second step after a freeze, even if more layers freeze meanwhile."""
    freeze = int(script.split("+0", maxsplit=1)[0][-1])
    loop = TinyLoop(model=Reentrant(), options={"script": script}).train(0, freeze + 1)
    with pytest.raises(
        UserError, match=rf"step {freeze + 2}, layer blocks\.0\.0 .*reentrant=False"
    ):
        loop.take_step(freeze + 1)


@pytest.mark.parametrize("kind", [Modern, Dropping])
def test_other_models_are_not_accused(kind: type[Blocks]) -> None:
    """Evaluate without gradients after each step, which proves nothing about a dropped block."""
    loop = TinyLoop(model=kind(), options={"script": "2+0 7-0 8+0"})
    for step in range(12):
        loop.take_step(step)
        with torch.no_grad():
            loop.model.eval()(make_batch(step)[0])
    assert loop.freezing.frozen == {0}
    assert not any(module._forward_pre_hooks for module in loop.model.modules())


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
def test_reentrant_checkpointing_in_eval_mode_is_refused() -> None:
    with pytest.raises(UserError, match=r"off until Freezing .*set_grad_checkpointing\(False\)"):
        TinyLoop(model=ReentrantInEval())


def test_a_vision_transformer_of_timm_may_checkpoint_in_eval_mode() -> None:
    reports = []
    for again in (False, True):
        net = create_model(
            "vit_tiny_patch16_224", img_size=8, patch_size=4, depth=2, embed_dim=12, num_heads=3,
            num_classes=5,
        )  # fmt: skip
        net.set_grad_checkpointing(again)
        optimizer = torch.optim.SGD(net.parameters(), 0.1)
        example = make_batch(0)[0]
        freezing = Freezing(net, optimizer, "full", example=example, total_steps=9,
                            steps_per_epoch=3)  # fmt: skip
        reports.append(freezing._view.flops)
    assert reports[0] == reports[1]
