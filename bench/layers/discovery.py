"""Discovery of the layers of a model, their order and their parameters.

A layer is one module with weights (convolution, linear, embedding, attention) and all modules
attached to it. Every parameter of the model belongs to exactly one layer. Layers are in the order
of their first use in the forward pass. The last layer is the head. All classifiers of a model with
several (one for each token of a distilled transformer) are one layer.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from bench.errors import UserError

Inputs = tuple[torch.Tensor, ...]

_WEIGHTED = (_ConvNd, nn.Linear, nn.Embedding, nn.MultiheadAttention)


@dataclass(frozen=True)
class Layer:
    """One unit of freezing.

    index: position among the layers, from 0. name: name of the weighted module.
    modules: names of all its modules, the weighted module first.
    parameters: names of its parameters, the weight first.
    size: number of elements of its parameters.
    block: index of its transformer block; equal to `index` in other networks.
    head: whether this is the last layer, which strategies may not freeze.
    others: if the head has several classifiers, the names of all but the first that runs.
    """

    index: int
    name: str
    modules: tuple[str, ...]
    parameters: tuple[str, ...]
    size: int
    block: int
    head: bool
    others: tuple[str, ...] = ()


def find_layers(
    model: nn.Module, inputs: Inputs, classifiers: Sequence[str] = ()
) -> tuple[Layer, ...]:
    """Return the layers of a model, found in one forward pass of a copy.

    inputs: a small batch that the model accepts. The model itself does not change.
    classifiers: names of the classifiers of a model with several. They are merged into the head.
    Raises UserError if the model has no module with weights.
    """
    order = find_execution_order(model, inputs)
    modules = dict(model.named_modules())
    weighted = [name for name in order if isinstance(modules[name], _WEIGHTED)]
    # A weighted module inside another one (attention's output projection) is part of that one.
    anchors = [n for n in weighted if not any(n.startswith(f"{other}.") for other in weighted)]
    if not anchors:
        raise UserError(f"{type(model).__name__} has no layer with weights to freeze")
    heads = [n for n in modules if _is_inside(n, classifiers) and isinstance(modules[n], _WEIGHTED)]
    heads = sorted(heads, key=lambda n: order.index(n) if n in order else len(order))
    if len(heads) > 1:
        anchors = [*(a for a in anchors if a not in heads), heads[0]]
    attached = _assign_modules(model, order, anchors, heads)
    names = {anchor: [anchor, *(m for m in attached[anchor] if m != anchor)] for anchor in anchors}
    parameters: dict[str, tuple[str, ...]] = {}
    taken: set[int] = set()  # a weight shared by two modules belongs to the one that runs first
    for anchor in anchors:
        own: dict[int, str] = {}
        for m in names[anchor]:
            for p, parameter in modules[m].named_parameters("", False):
                own.setdefault(id(parameter), f"{m}.{p}".removeprefix("."))
        parameters[anchor] = tuple(name for p, name in own.items() if p not in taken)
        taken.update(own)
    anchors = [anchor for anchor in anchors if parameters[anchor]]
    blocks = _find_blocks(model, anchors)
    return tuple(
        Layer(
            index,
            anchor,
            tuple(names[anchor]),
            parameters[anchor],
            sum(model.get_parameter(p).numel() for p in parameters[anchor]),
            blocks[index],
            head=index == len(anchors) - 1,
            others=tuple(heads[1:]) if index == len(anchors) - 1 else (),
        )
        for index, anchor in enumerate(anchors)
    )


def find_execution_order(model: nn.Module, inputs: Inputs) -> list[str]:
    """Return the names of the modules in the order of their first use in the forward pass.

    A module can be used without being called: torchvision's Swin attention passes its children's
    weights to functions. Such a module is placed at the first use of its weights.
    """
    # With requires_grad, torch's transformer layers call their parts instead of a fused kernel.
    model = copy.deepcopy(model).eval().requires_grad_(True)
    order: dict[str, None] = {}

    def watch(name: str) -> Callable[..., None]:
        return lambda *_: order.setdefault(name)

    owner: dict[int, str] = {}
    for name, module in model.named_modules():
        module.register_forward_pre_hook(watch(name))
        owner.update((id(p), name) for p in module.parameters(recurse=False))
    with torch.enable_grad(), _WeightsUsed(owner, order):
        model(*inputs)
    return list(order)


class _WeightsUsed(TorchDispatchMode):
    """Dispatch mode that records modules whose own parameters are arguments of an operator."""

    def __init__(self, owner: dict[int, str], order: dict[str, None]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # untyped in torch
        self._owner, self._order = owner, order

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for value in tree_leaves((args, kwargs)):
            if isinstance(value, nn.Parameter) and id(value) in self._owner:
                self._order.setdefault(self._owner[id(value)])
        return func(*args, **(kwargs or {}))


def has_running_statistics(module: nn.Module) -> bool:
    """Return whether a module updates running statistics of its own in train mode, as BatchNorm."""
    return any(name.startswith("running_") for name, _ in module.named_buffers(recurse=False))


def _is_inside(name: str, containers: Sequence[str]) -> bool:
    """Return whether a module is one of some modules or inside one of them."""
    return any(name == c or name.startswith(f"{c}.") for c in containers)


def _assign_modules(
    model: nn.Module, order: list[str], anchors: list[str], heads: list[str]
) -> dict[str, list[str]]:
    """Assign every module that owns parameters or running statistics to one anchor.

    - A LayerNorm is assigned to the layer after it (pre-norm).
    - Other norms and small modules are assigned to the layer before them.
    - A container that owns parameters (a class token, a bias table) is assigned to the first layer
      inside it.
    - A module that the forward pass never uses is assigned to the layer registered before it.
    - All `heads` of several are assigned to the last anchor, which counts as run with the last one.
    """
    modules = dict(model.named_modules())
    position = {name: i for i, name in enumerate(order)}
    starts = {a: position[a] for a in anchors}
    if len(heads) > 1:
        starts[anchors[-1]] = max(position.get(name, 0) for name in heads)

    def before(i: int) -> str:
        earlier = [a for a in anchors if starts[a] <= i]
        return max(earlier, key=starts.__getitem__) if earlier else anchors[0]

    def after(i: int) -> str:
        later = [a for a in anchors if starts[a] >= i]
        return min(later, key=starts.__getitem__) if later else anchors[-1]

    attached: dict[str, list[str]] = {anchor: [] for anchor in anchors}
    registered = anchors[0]  # the latest anchor in registration order
    for name, module in modules.items():
        if name in attached:
            registered = name
        owns = any(True for _ in module.parameters(recurse=False))
        if not owns and not has_running_statistics(module):
            continue
        inside = [a for a in anchors if not name or a == name or a.startswith(f"{name}.")]
        around = [a for a in anchors if name.startswith(f"{a}.")]
        if len(heads) > 1 and _is_inside(name, heads):
            owner = anchors[-1]
        elif inside or around:
            owner = (inside or around)[0]
        elif name not in position:
            owner = registered
        elif _is_layer_norm(module):
            owner = after(position[name])
        else:
            owner = before(position[name])
        attached[owner].append(name)
    return attached


def _is_layer_norm(module: nn.Module) -> bool:
    """Return whether a module is a LayerNorm or RMSNorm, judged by class name.

    Libraries define their own classes for both.
    """
    kinds = [kind.__name__.lower() for kind in type(module).__mro__]
    return any("layernorm" in kind or "rmsnorm" in kind for kind in kinds)


def _find_blocks(model: nn.Module, anchors: list[str]) -> list[int]:
    """Return the block index of each layer.

    Layers of one transformer block share an index. Layers before the first block join it, layers
    between two blocks join the later block, and layers after the last block join the last block.
    The head has a block of its own. Without transformer blocks, every layer is its own block.
    """
    roots = _find_block_roots(model)
    owners = [
        max((r for r in roots if a.startswith(f"{r}.")), key=len, default="") for a in anchors
    ]
    if not any(owners[:-1]):
        return list(range(len(anchors)))
    blocks: list[int] = []
    seen: dict[str, int] = {}
    for i, owner in enumerate(owners[:-1]):
        later = [o for o in owners[i:-1] if o]
        earlier = [o for o in owners[:i] if o]
        block = owner or (later[0] if later else earlier[-1])
        blocks.append(seen.setdefault(block, len(seen)))
    return [*blocks, len(seen)]


def _find_block_roots(model: nn.Module) -> set[str]:
    """Return the names of the transformer blocks: numbered modules that contain attention.

    An attention module has "attn" or "attention" in its name and contains linear layers. Gates of
    convolutional networks can have such names too, but they contain convolutions only.
    """
    roots = set()
    for name, module in model.named_modules():
        parts = name.split(".")
        named = [i for i, part in enumerate(parts) if re.search("attn|attention", part.lower())]
        linear = any(isinstance(m, (nn.Linear, nn.MultiheadAttention)) for m in module.modules())
        if named and linear:
            numbered = [i for i in range(named[0]) if parts[i][-1:].isdigit()]
            if numbered:
                roots.add(".".join(parts[: numbered[-1] + 1]))
    return roots
