"""What the autograd graph of one training step holds, and what would be left of it if frozen.

The graph of a full step is walked once. Every node is marked with the layers whose parameters it
can reach: when all of those are frozen, autograd does not build the node at all. Sets of layers
are bit masks: bit i stands for layer i.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from bench.layers import Inputs, Layer


@dataclass(frozen=True)
class Product:
    """One matrix product or convolution of the forward pass.

    flops: of its forward pass (1 multiply-add = 2 FLOPs).
    operands: for each of its two factors, the layers whose training needs that factor's gradient.
    layer: the layer whose weight is a factor, or None for a product of activations (attention).
    """

    flops: int
    operands: tuple[int, int]
    layer: int | None


def mask_of(layers: Iterable[int]) -> int:
    """The bit mask of a set of layer indices."""
    return sum(1 << i for i in set(layers))


def trace_products(
    model: nn.Module, layers: Sequence[Layer], inputs: Inputs
) -> tuple[Product, ...]:
    """List every product in the backward graph of one full training step on a copy of the model.

    Attention runs by its plain formula, so that each of its two products is seen by itself.
    """
    model = copy.deepcopy(model).eval().requires_grad_(True)
    owner = {
        id(model.get_parameter(name)): layer.index for layer in layers for name in layer.parameters
    }
    with sdpa_kernel(SDPBackend.MATH), torch.enable_grad():
        root = output_tensor(model(*inputs)).grad_fn
    reach = _reach(root, owner)
    products = []
    for node in reach:
        count = _PRODUCTS.get(_kind(node))
        if count is None:
            continue
        edges = [edge for edge, _ in node.next_functions]
        factors = edges[-2:] if _kind(node) != "ConvolutionBackward0" else edges[:2]
        first, second = (reach.get(edge, 0) for edge in factors)
        weights = [owner[id(p)] for edge in factors if (p := _parameter(edge)) is not None]
        products.append(Product(count(node), (first, second), weights[0] if weights else None))
    return tuple(products)


def output_tensor(output: Any) -> torch.Tensor:
    """The logits of a model's output: itself, or the `logits` of a transformers output."""
    if isinstance(output, torch.Tensor):
        return output
    logits: torch.Tensor = output.logits
    return logits


def _reach(root: Any, owner: dict[int, int]) -> dict[Any, int]:
    """Every node under `root` with the mask of layers that it can reach."""
    reach: dict[Any, int] = {}
    stack = [(root, False)]
    while stack:
        node, children_done = stack.pop()
        if node in reach:
            continue
        children = [child for child, _ in node.next_functions if child is not None]
        if children_done:
            mask = 0
            for child in children:
                mask |= reach[child]
            if hasattr(node, "variable"):
                mask |= 1 << owner[id(node.variable)]
            reach[node] = mask
        else:
            stack.append((node, True))
            stack.extend((child, False) for child in children)
    return reach


def _kind(node: Any) -> str:
    return type(node).__name__


def _parameter(edge: Any) -> Any:
    """The parameter behind an edge, through views of it alone (a transposed weight)."""
    while edge is not None and _kind(edge) in ("TBackward0", "TransposeBackward0", "ViewBackward0"):
        edge = edge.next_functions[0][0]
    return getattr(edge, "variable", None)


def _output_shape(node: Any) -> Sequence[int]:
    shape: Sequence[int] = node._input_metadata[0].shape
    return shape


def _convolution(node: Any) -> int:
    weight = node._saved_weight.shape
    # A transposed convolution spreads each input position over a kernel; a plain one gathers.
    positions = node._saved_input.shape if node._saved_transposed else _output_shape(node)
    return 2 * prod(positions) * prod(weight[1:])


def _matrix_product(node: Any) -> int:
    sizes = getattr(node, "_saved_mat1_sym_sizes", None) or getattr(node, "_saved_self_sym_sizes")
    return 2 * prod(_output_shape(node)) * int(sizes[-1])


def _batched_product(node: Any) -> int:
    left = getattr(node, "_saved_self", None)
    left = node._saved_batch1 if hasattr(node, "_saved_batch1") else left
    if left is not None:
        inner = left.shape[-1]
    else:  # the left factor is saved only for the right one's gradient
        inner = node._saved_mat2.shape[-2]
    return 2 * prod(_output_shape(node)) * int(inner)


_PRODUCTS = {
    "ConvolutionBackward0": _convolution,
    "AddmmBackward0": _matrix_product,
    "MmBackward0": _matrix_product,
    "BmmBackward0": _batched_product,
    "BaddbmmBackward0": _batched_product,
}
