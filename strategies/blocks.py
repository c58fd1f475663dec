"""Blocks of a model, the unit of strategies that freeze whole transformer blocks."""

from __future__ import annotations

from strategies.base import View


def group_by_block(view: View) -> list[list[int]]:
    """Return the layers of every block in order from the input; the last block is the head.

    A block is a transformer block. In a network without transformer blocks, each layer is a block
    of its own (`Layer.block`).
    """
    blocks: dict[int, list[int]] = {}
    for layer in view.layers:
        blocks.setdefault(layer.block, []).append(layer.index)
    return list(blocks.values())


def find_embeddings(view: View) -> frozenset[int]:
    """Return the layers of a transformer that run before its first block.

    These layers embed tokens, positions or patches. `Layer.block` and `group_by_block` count them
    as part of the first block. The result is empty for a network without transformer blocks.
    """
    first = group_by_block(view)[0]
    inside = [view.layers[layer].in_block for layer in first]
    return frozenset(first[: inside.index(True)])
