"""Products that gradient checkpointing computes again in the backward pass.

A checkpointed block saves its input only. When the backward pass needs a tensor inside the block,
`torch.utils.checkpoint` runs the forward pass of the block again. The second pass stops when all
tensors exist that a pass without checkpointing would have saved. Products after the last of these
tensors therefore run once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from bench.costs.saved_tensors import list_saved_tensors
from bench.layers.discovery import Layer

Span = tuple[int, int]  # sequence numbers of autograd nodes, the second one excluded


class NodeSpans:
    """Recorder of the autograd nodes that each call of some modules creates.

    spans: (first, end) for each call, by name of the module. The two numbers are autograd's
    sequence numbers, which follow the order of creation.
    """

    def __init__(self, model: nn.Module, names: Sequence[str]) -> None:
        self.spans: dict[str, list[Span]] = {name: [] for name in names}
        for name in names:
            module, began = model.get_submodule(name), list[int]()

            def enter(_: nn.Module, __: Any, began: list[int] = began) -> None:
                began.append(torch._C._autograd._get_sequence_nr())

            def leave(
                _: nn.Module, __: Any, ___: Any, began: list[int] = began, name: str = name
            ) -> None:
                end = torch._C._autograd._get_sequence_nr()
                self.spans[name].append((began.pop(), end))

            module.register_forward_pre_hook(enter)
            module.register_forward_hook(leave)


def find_checkpointed_blocks(model: nn.Module) -> tuple[str, ...]:
    """Return the names of the blocks that the transformers library can checkpoint.

    Blocks are recognised by class name, because importing transformers takes seconds.
    """
    return tuple(
        name
        for name, module in model.named_modules()
        if any(kind.__name__ == "GradientCheckpointingLayer" for kind in type(module).__mro__)
    )


def find_recomputed(
    reach: Mapping[Any, int],
    blocks: Sequence[Span],
    layers: Sequence[Layer],
    modules: Mapping[str, Sequence[Span]],
) -> dict[Any, int]:
    """Return each node inside a checkpointed block with a mask of layers.

    If any layer of the mask trains, the backward pass runs the operator of the node again.
    reach: every node with the mask of the layers that it can reach.
    blocks: spans of the calls of checkpointed blocks.
    modules: spans of the dropout of layers, by name. Dropout is off if all its layers are frozen,
    and then saves nothing.
    """
    off: dict[int, int] = {}
    for layer in layers:
        for name in layer.weightless:
            for begin, end in modules.get(name, ()):
                for number in range(begin, end):
                    off[number] = off.get(number, 0) | 1 << layer.index
    numbered = {node._sequence_nr(): node for node in reach}
    recomputed: dict[Any, int] = {}
    for begin, end in blocks:
        later = 0  # mask of the tensors that operators after this one save
        for number in range(end - 1, begin - 1, -1):
            if (node := numbered.get(number)) is None:
                continue
            recomputed[node] = later
            for _, needed_by in list_saved_tensors(node, reach[node], dict(reach), {}):
                later |= off.get(number, needed_by) if needed_by else 0
    return recomputed
