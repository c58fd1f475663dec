"""Tensors that the nodes of an autograd graph save for the backward pass."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

# Operators that save a tensor only if one of their inputs needs a gradient. Each entry maps the
# name of the saved tensor to the position of that input in `next_functions`. The conditions come
# from torch's generated autograd code. All other operators save all of their tensors or none.
_SAVED_FOR = {
    "AddmmBackward0": {"mat1": 2, "mat2": 1},
    "AddbmmBackward0": {"batch1": 2, "batch2": 1},
    "AddcdivBackward0": {"tensor1": 2},
    "AddcmulBackward0": {"tensor1": 2, "tensor2": 1},
    "AddmvBackward0": {"mat": 2, "vec": 1},
    "AddrBackward0": {"vec1": 2, "vec2": 1},
    "BaddbmmBackward0": {"batch1": 2, "batch2": 1},
    "BmmBackward0": {"self": 1, "mat2": 0},
    "DivBackward0": {"self": 1},
    "DotBackward0": {"self": 1, "tensor": 0},
    "LerpBackward1": {"self": 2, "end": 2},
    "MmBackward0": {"self": 1, "mat2": 0},
    "MulBackward0": {"self": 1, "other": 0},
    "MvBackward0": {"self": 1, "vec": 0},
}


def list_saved_tensors(
    node: Any, mask: int, reach: dict[Any, int], statistics: dict[int, int]
) -> Iterator[tuple[torch.Tensor, int]]:
    """Yield the tensors that a node saves, each with a mask of layers.

    A tensor is kept while any layer of its mask trains.
    mask: bit mask of the layers that this node can reach.
    reach: the same kind of mask for each node of the graph.
    statistics: index of the layer of each BatchNorm, by the address of its running mean.
    """
    kind = type(node).__name__
    mean = getattr(node, "_saved_running_mean", None)
    for name in (name for name in dir(node) if name.startswith("_saved_")):
        needed_by = mask
        place = _SAVED_FOR.get(kind, {}).get(name.removeprefix("_saved_"))
        if place is not None:
            needed_by = reach.get(node.next_functions[place][0], 0)
        elif mean is not None and get_address(mean) in statistics and "_saved_result" in name:
            # A frozen BatchNorm is in eval mode, so it saves no batch statistics.
            needed_by = 1 << statistics[get_address(mean)]
        value = getattr(node, name)
        for tensor in value if isinstance(value, (tuple, list)) else (value,):
            if isinstance(tensor, torch.Tensor):
                yield tensor, needed_by
    for tensor in getattr(node, "saved_tensors", None) or ():  # torch.autograd.Function
        yield tensor, mask


def get_address(tensor: torch.Tensor) -> int:
    """Return the address of a tensor's storage."""
    return tensor.untyped_storage().data_ptr()
