"""Gradient checkpointing of the blocks of a text model.

A checkpointed block saves its input only, and the backward pass runs its forward pass again
(Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost", arXiv 1604.06174).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from bench.costs.recomputation import find_checkpointed_blocks
from bench.errors import UserError


def checkpoint_blocks(model: nn.Module, label: str) -> None:
    """Make each block of a transformers model recompute its activations.

    transformers' own switch has no effect in a block in eval mode. Freezing puts whole blocks into
    eval mode, so this function wraps the blocks itself. It uses `use_reentrant=False`. With
    `use_reentrant=True`, a block whose input needs no gradient is not recomputed.
    label: name of the run, for messages. Raises UserError if the model has no blocks to checkpoint.
    """
    for name in require_checkpointed_blocks(model, label):
        block = model.get_submodule(name)
        block.forward = partial(_run, block.forward)


def require_checkpointed_blocks(model: nn.Module, label: str) -> tuple[str, ...]:
    """Return the names of the blocks that transformers can checkpoint.

    label: name of the run or of the model, for messages. Raises UserError if the model has no such
    blocks.
    """
    names = find_checkpointed_blocks(model)
    if not names:
        raise UserError(
            f"{label}: {type(model).__name__} has no blocks that transformers can checkpoint; omit "
            "--checkpointing"
        )
    return names


def _run(forward: Callable[..., Any], *inputs: Any, **named: Any) -> Any:
    if not torch.is_grad_enabled():
        return forward(*inputs, **named)
    return checkpoint(forward, *inputs, use_reentrant=False, **named)
