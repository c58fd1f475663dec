"""Blocks of a model, the unit of strategies that freeze whole transformer blocks."""

from __future__ import annotations

import re

from strategies.base import View


def group_by_block(view: View) -> list[list[int]]:
    """Return the layers of every block in order from the input; the last block is the head.

    A block is a transformer block, or a single layer in other networks (`Layer.block`).
    """
    blocks: dict[int, list[int]] = {}
    for layer in view.layers:
        blocks.setdefault(layer.block, []).append(layer.index)
    return list(blocks.values())


def find_embeddings(view: View) -> frozenset[int]:
    """Return the layers of a transformer that run before its first block.

    They embed tokens, positions or patches. `Layer.block` counts them to the first block, and
    `group_by_block` too. A network without transformer blocks has none.
    """
    first = group_by_block(view)[0]
    names = [view.layers[layer].name for layer in first]
    root = next(filter(None, map(_find_block_root, names)), "")
    start = next(i for i, name in enumerate(names) if name.startswith(root))
    return frozenset(first[:start])


def _find_block_root(layer: str) -> str:
    """Return the name of the transformer block of an attention layer with a final point, or ""."""
    parts = layer.split(".")
    named = [i for i, part in enumerate(parts) if re.search("attn|attention", part.lower())]
    numbered = [i for i in range(named[0] if named else 0) if parts[i][-1:].isdigit()]
    return ".".join((*parts[: numbered[-1] + 1], "")) if numbered else ""
