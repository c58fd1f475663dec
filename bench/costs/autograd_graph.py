"""Matrix products in the autograd graph of a training step, for any set of frozen layers.

The graph of a full training step is walked once. Every node is marked with the layers whose
parameters the node can reach. If all these layers are frozen, autograd does not build the node. A
set of layers is a bit mask: bit i stands for layer i.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from bench.costs.fused_attention import AttentionCalls, find_rebuilt_products
from bench.costs.recomputation import NodeSpans, find_recomputed
from bench.errors import UserError
from bench.layers.activations import get_logits
from bench.layers.discovery import Inputs, Layer


@dataclass(frozen=True)
class Product:
    """One matrix product or convolution of the forward pass.

    flops: FLOPs of the forward pass (1 multiply-add = 2 FLOPs). They are per batch in the result of
        `trace_products`, and per sample in a FlopModel. A mean over input sizes need not be an
        integer.
    operands: for each of the two factors, the mask of the layers whose training needs the gradient
        of that factor. Both masks are 0 for a product outside of autograd (rotary angles).
    layer: index of the layer whose weight is a factor. None for a product of activations
        (attention) and for a product outside of autograd.
    per_batch: further forward FLOPs per batch that do not depend on the number of samples, for
        example the projections of a table of relative positions.
    checkpointed: mask of layers. If any of them trains, the backward pass computes the product
        again (gradient checkpointing).
    rebuilt: mask of layers. If any of them trains, the backward pass of a fused attention kernel
        computes the product again.
    """

    flops: float
    operands: tuple[int, int]
    layer: int | None
    per_batch: float = 0.0
    checkpointed: int = 0
    rebuilt: int = 0


def make_mask(layers: Iterable[int]) -> int:
    """Return the bit mask of a set of layer indices."""
    return sum(1 << i for i in set(layers))


@dataclass(frozen=True)
class Checkpointing:
    """Gradient checkpointing of a model.

    blocks: names of the checkpointed modules.
    keep_dropout: whether dropout stays on in frozen layers.
    """

    blocks: tuple[str, ...]
    keep_dropout: bool = False


def trace_products(
    model: nn.Module,
    layers: Sequence[Layer],
    inputs: Inputs,
    checkpointing: Checkpointing | None = None,
    never_trained: Collection[str] = (),
) -> tuple[Product, ...]:
    """Return every product in the forward pass of a full training step, run on a copy of the model.

    never_trained: names of parameters that never train. The step does not compute their gradients.
    Products outside of autograd come last. Attention uses the `SDPBackend.MATH` backend, so that
    the graph shows its two products.
    """
    model = copy.deepcopy(model).eval().requires_grad_(True)
    for name in never_trained:
        model.get_parameter(name).requires_grad_(False)
    spans = _watch_blocks(model, layers, checkpointing)
    owner = {
        id(model.get_parameter(name)): layer.index for layer in layers for name in layer.parameters
    }
    constant, attention = _ConstantProducts(), AttentionCalls()
    with sdpa_kernel(SDPBackend.MATH), torch.enable_grad(), constant, attention:
        root = get_logits(model(*inputs)).grad_fn
    reach = find_reachable_layers(root, owner)
    activations = _find_activations(reach)
    recomputed: dict[Any, int] = {}
    if checkpointing:
        calls = [span for name in checkpointing.blocks for span in spans.spans[name]]
        recomputed = find_recomputed(reach, calls, layers, spans.spans)
    nodes = [node for node in reach if _get_kind(node) in _PRODUCTS]
    rebuilt = find_rebuilt_products(reach, nodes, attention.spans)
    products = []
    for node in nodes:
        count = _PRODUCTS[_get_kind(node)]
        edges = [edge for edge, _ in node.next_functions]
        factors = edges[-2:] if _get_kind(node) != "ConvolutionBackward0" else edges[:2]
        first, second = (reach.get(edge, 0) for edge in factors)
        # Both factors can be parameters (learned queries times a weight). The right factor is the
        # weight that names the layer.
        weights = [reach[e] for e in reversed(factors) if e in reach and e not in activations]
        layer = weights[0].bit_length() - 1 if weights else None
        masks = {"checkpointed": recomputed.get(node, 0), "rebuilt": rebuilt.get(node, 0)}
        products.append(Product(count(node), (first, second), layer, **masks))
    return (*products, *(Product(flops, (0, 0), None) for flops in constant.flops))


def _watch_blocks(
    model: nn.Module, layers: Sequence[Layer], checkpointing: Checkpointing | None
) -> NodeSpans:
    """Return a recorder of the autograd nodes of checkpointed blocks and of dropout in layers.

    With checkpointing, the call also puts the model into train mode.
    """
    if checkpointing is None:
        return NodeSpans(model, ())
    model.train()  # dropout saves its mask
    dropout = [] if checkpointing.keep_dropout else [n for x in layers for n in x.weightless]
    return NodeSpans(model, (*checkpointing.blocks, *dict.fromkeys(dropout)))


class _ConstantProducts(TorchDispatchMode):
    """Dispatch mode that lists the FLOPs of products of tensors that need no gradient.

    Autograd builds no node for them, so they cost nothing in the backward pass.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # untyped in torch
        self.flops: list[int] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        count = flop_registry.get(func._overloadpacket)
        needed = any(isinstance(x, torch.Tensor) and x.requires_grad for x in tree_leaves(args))
        if count is not None and not needed:
            self.flops.append(int(count(*args, **(kwargs or {}), out_val=output)))
        return output


def find_custom_functions(model: nn.Module, inputs: Inputs) -> list[str]:
    """Return the names of the `torch.autograd.Function` classes that a model uses.

    The graph does not contain the products inside of such a function.
    """
    with torch.enable_grad():
        root = get_logits(copy.deepcopy(model).eval().requires_grad_(True)(*inputs)).grad_fn
    nodes = find_reachable_layers(root, {})
    kinds = {_get_kind(node) for node in nodes if hasattr(node, "saved_tensors")}
    return sorted(kind.removesuffix("Backward") for kind in kinds)


def find_reachable_layers(root: Any, owner: dict[int, int]) -> dict[Any, int]:
    """Return every node under `root`, mapped to the mask of layers that it can reach.

    Children come before their parents.
    owner: layer index by `id` of a parameter.
    """
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
                mask |= _find_owner(node.variable, owner) if owner else 0
            reach[node] = mask
        else:
            stack.append((node, True))
            stack.extend((child, False) for child in children)
    return reach


def _find_owner(leaf: torch.Tensor, owner: dict[int, int]) -> int:
    """Return the mask of the layer of a leaf. Raises UserError for a leaf that no layer owns."""
    if id(leaf) not in owner:
        raise UserError(
            f"a tensor of shape {tuple(leaf.shape)} requires a gradient, but is not a parameter of "
            "any layer; make it an nn.Parameter of a module, or call detach() on an input"
        )
    return 1 << owner[id(leaf)]


def _get_kind(node: Any) -> str:
    return type(node).__name__


def _find_activations(reach: dict[Any, int]) -> set[Any]:
    """Return the nodes that depend on the model's input.

    These are the products, the embedding look-ups and all nodes that depend on them. `reach` lists
    children before their parents.
    """
    found: set[Any] = set()
    for node in reach:
        children = (child for child, _ in node.next_functions)
        if _get_kind(node) in _SOURCES or any(child in found for child in children):
            found.add(node)
    return found


def _get_output_shape(node: Any) -> Sequence[int]:
    shape: Sequence[int] = node._input_metadata[0].shape
    return shape


def _count_convolution(node: Any) -> int:
    weight: Sequence[int] = node._saved_weight.shape
    # A transposed convolution applies its kernel once per input position, a plain convolution once
    # per output position.
    positions: Sequence[int] = (
        node._saved_input.shape if node._saved_transposed else _get_output_shape(node)
    )
    return int(2 * prod(positions) * prod(weight[1:]))


def _count_matrix_product(node: Any) -> int:
    sizes = getattr(node, "_saved_mat1_sym_sizes", None) or node._saved_self_sym_sizes
    return 2 * prod(_get_output_shape(node)) * int(sizes[-1])


def _count_batched_product(node: Any) -> int:
    left, right = ("batch1", "batch2") if hasattr(node, "_saved_batch1") else ("self", "mat2")
    first, second = getattr(node, f"_saved_{left}"), getattr(node, f"_saved_{right}")
    # Autograd saves a factor only if the other factor needs a gradient, so either can be None.
    inner = first.shape[-1] if first is not None else second.shape[-2]
    return 2 * prod(_get_output_shape(node)) * int(inner)


_PRODUCTS = {
    "ConvolutionBackward0": _count_convolution,
    "AddmmBackward0": _count_matrix_product,
    "MmBackward0": _count_matrix_product,
    "BmmBackward0": _count_batched_product,
    "BaddbmmBackward0": _count_batched_product,
}
_SOURCES = frozenset(_PRODUCTS) | {"EmbeddingBackward0"}
