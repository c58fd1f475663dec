"""Discovery of the layers of a model, their order and their parameters.

A layer is one weighted module (a convolution, a linear layer, an embedding or attention) together
with all modules attached to it. Every parameter of the model belongs to exactly one layer. Layers
are in the order of their first use in the forward pass. The last layer is the head. If a model has
several classifiers, for example one for each token of a distilled transformer, they form one layer.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from bench.errors import UserError
from bench.layers.attachment import Attacher, is_inside
from bench.layers.output_recording import choose_watched, find_sample_dims

Inputs = tuple[torch.Tensor, ...]

_WEIGHTED = (_ConvNd, nn.Linear, nn.Embedding, nn.MultiheadAttention)


@dataclass(frozen=True)
class Layer:
    """One unit of freezing.

    index: position among the layers, from 0.
    name: name of the weighted module.
    modules: names of its modules with parameters or running statistics, the weighted module first.
    parameters: names of its parameters, the weight first.
    size: number of elements of its parameters.
    block: index of its transformer block; equal to `index` in networks without such blocks.
    head: whether this is the last layer, which strategies may not freeze.
    others: names of the further classifiers of the head. `name` is the classifier that runs first.
    in_block: whether the layer is inside its transformer block. False for embeddings, poolers and
        other layers that only share the index of a block. True in networks without such blocks.
    weightless: names of its modules without weights, such as dropout after it. A module that the
        forward pass calls several times can belong to several layers.
    sample_dim: batch dimension of its output: 0, or for example 1 in a layer that has the sequence
        first. None if the output does not depend on the samples, or if there is no output. UNKNOWN
        (-1) if the batch dimension cannot be determined.
    """

    index: int
    name: str
    modules: tuple[str, ...]
    parameters: tuple[str, ...]
    size: int
    block: int
    head: bool
    others: tuple[str, ...] = ()
    in_block: bool = True
    weightless: tuple[str, ...] = ()
    sample_dim: int | None = 0


def find_layers(
    model: nn.Module, inputs: Inputs, classifiers: Sequence[str] = ()
) -> tuple[Layer, ...]:
    """Return the layers of a model, found in forward passes of copies.

    inputs: a small batch that the model accepts. The model itself does not change.
    classifiers: names of the classifiers if there are several; they are merged into the head.
    Raises UserError if the model has no module with weights.
    """
    calls = find_calls(model, inputs)
    order = list(dict.fromkeys(calls))
    modules = dict(model.named_modules())
    weighted = [name for name in order if _is_weighted(modules[name])]
    # A weighted module inside another one (attention's output projection) is part of that one.
    anchors = [n for n in weighted if not any(n.startswith(f"{other}.") for other in weighted)]
    if not anchors:
        raise UserError(
            f"{type(model).__name__} has no layer with weights to freeze; use another model"
        )
    heads = [n for n in modules if is_inside(n, classifiers) and _is_weighted(modules[n])]
    heads = sorted(heads, key=lambda n: order.index(n) if n in order else len(order))
    if len(heads) > 1:
        anchors = [*(a for a in anchors if a not in heads), heads[0]]
    roots = _find_block_roots(model)
    attached = Attacher(model, calls, anchors, heads, roots).assign()
    names = {anchor: (anchor, *attached[anchor].with_weights) for anchor in anchors}
    parameters: dict[str, tuple[str, ...]] = {}
    # A weight that modules share belongs to the head, which never freezes, or else to the module
    # that runs first.
    taken: set[int] = set()
    for anchor in (anchors[-1], *anchors[:-1]):
        own: dict[int, str] = {}
        for m in names[anchor]:
            for p, parameter in modules[m].named_parameters("", False):
                own.setdefault(id(parameter), f"{m}.{p}".removeprefix("."))
        parameters[anchor] = tuple(name for p, name in own.items() if p not in taken)
        taken.update(own)
    anchors = [anchor for anchor in anchors if parameters[anchor]]
    blocks, inside = _find_blocks(roots, anchors)
    watched = [choose_watched(modules, names[anchor]) for anchor in anchors]
    dims = find_sample_dims(model, watched, inputs)
    return tuple(
        Layer(
            index,
            anchor,
            names[anchor],
            parameters[anchor],
            sum(model.get_parameter(p).numel() for p in parameters[anchor]),
            blocks[index],
            head=index == len(anchors) - 1,
            others=tuple(heads[1:]) if index == len(anchors) - 1 else (),
            in_block=inside[index],
            weightless=attached[anchor].weightless,
            sample_dim=dims.get(index),
        )
        for index, anchor in enumerate(anchors)
    )


def find_calls(model: nn.Module, inputs: Inputs, training: bool = False) -> list[str]:
    """Return the name of the called module for each call in a forward pass of a copy, in order.

    A module can be used without being called. For example, torchvision's Swin attention passes the
    weights of its children to functions. The first use of its weights then counts as a call.
    training: whether the copy is in train mode. The pass may then draw random numbers.
    """
    # With requires_grad, torch's transformer layers call their parts instead of a fused kernel.
    model = copy.deepcopy(model).train(training).requires_grad_(True)
    calls: list[str] = []

    def watch(name: str) -> Callable[..., None]:
        return lambda *_: calls.append(name)

    owner: dict[int, str] = {}
    shared: set[int] = set()  # the use of a shared weight does not tell which module is used
    for name, module in model.named_modules():
        module.register_forward_pre_hook(watch(name))
        for parameter in module.parameters(recurse=False):
            if owner.setdefault(id(parameter), name) != name:
                shared.add(id(parameter))
    owner = {p: name for p, name in owner.items() if p not in shared}
    with torch.enable_grad(), _WeightsUsed(owner, calls):
        model(*inputs)
    return calls


class _WeightsUsed(TorchDispatchMode):
    """Dispatch mode that records modules whose own parameters are arguments of an operator."""

    def __init__(self, owner: dict[int, str], calls: list[str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # untyped in torch
        self._owner, self._calls = owner, calls

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for value in tree_leaves((args, kwargs)):
            if isinstance(value, nn.Parameter) and id(value) in self._owner:
                name = self._owner[id(value)]
                if name not in self._calls:
                    self._calls.append(name)
        return func(*args, **(kwargs or {}))


def _is_weighted(module: nn.Module) -> bool:
    """Return whether a module can be the weighted module of a layer."""
    return isinstance(module, _WEIGHTED) or _is_transposed_linear(module)


def _is_transposed_linear(module: nn.Module) -> bool:
    """Return whether a module is the linear layer of GPT-2, which transformers calls Conv1D.

    Its weight is (inputs, outputs). The class is known by name, because importing transformers
    takes seconds.
    """
    weight = getattr(module, "weight", None)
    return type(module).__name__ == "Conv1D" and isinstance(weight, Tensor) and weight.ndim == 2


def _find_blocks(roots: set[str], anchors: list[str]) -> tuple[list[int], list[bool]]:
    """Return the block index of each layer, and whether the layer is inside that block.

    Layers of one transformer block share an index. Layers outside of all blocks join the next
    block. Layers after the last block join the last block. The head has a block of its own. Without
    transformer blocks, every layer is its own block.
    """
    owners = [
        max((r for r in roots if a.startswith(f"{r}.")), key=len, default="") for a in anchors
    ]
    if not any(owners[:-1]):
        return list(range(len(anchors))), [True] * len(anchors)
    blocks: list[int] = []
    seen: dict[str, int] = {}
    for i, owner in enumerate(owners[:-1]):
        later = [o for o in owners[i:-1] if o]
        earlier = [o for o in owners[:i] if o]
        block = owner or (later[0] if later else earlier[-1])
        blocks.append(seen.setdefault(block, len(seen)))
    return [*blocks, len(seen)], [*map(bool, owners[:-1]), True]


def _find_block_roots(model: nn.Module) -> set[str]:
    """Return the names of the transformer blocks.

    A block is the innermost module around attention whose name ends in a digit. An attention module
    has "attn" or "attention" in its name and contains linear layers. Gates of convolutional
    networks can have such names too, but they contain convolutions only.
    """
    roots = set()
    for name, module in model.named_modules():
        parts = name.split(".")
        named = [i for i, part in enumerate(parts) if re.search("attn|attention", part.lower())]
        linear = any(
            isinstance(m, (nn.Linear, nn.MultiheadAttention)) or _is_transposed_linear(m)
            for m in module.modules()
        )
        if named and linear:
            numbered = [i for i in range(named[0]) if parts[i][-1:].isdigit()]
            if numbered:
                roots.add(".".join(parts[: numbered[-1] + 1]))
    return roots
