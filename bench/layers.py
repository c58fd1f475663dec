"""Which layers a model has, in which order, and what belongs to each.

A layer is one module with weights (convolution, linear, embedding, attention projection) with
everything attached to it, so that every parameter of the model belongs to exactly one layer.
Layers are ordered as the forward pass first uses them; the last one is the head.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from bench.errors import UserError

Inputs = tuple[torch.Tensor, ...]

_WEIGHTED = (_ConvNd, nn.Linear, nn.Embedding, nn.MultiheadAttention)


@dataclass(frozen=True)
class Layer:
    """One unit of freezing.

    modules: names of the modules attached to it, the weighted one first.
    parameters: names of its parameters, the weight first.
    block: index of the transformer block it belongs to; in other networks its own index.
    """

    index: int
    name: str
    modules: tuple[str, ...]
    parameters: tuple[str, ...]
    size: int
    block: int
    head: bool


def find_layers(model: nn.Module, inputs: Inputs) -> tuple[Layer, ...]:
    """Split a model into layers by watching one forward pass of a copy.

    inputs: a small batch that the model accepts. The model itself is left as it was.
    Raises UserError if the model has no module with weights.
    """
    order = execution_order(model, inputs)
    modules = dict(model.named_modules())
    weighted = [name for name in order if isinstance(modules[name], _WEIGHTED)]
    # A module inside another weighted one (an attention's output projection) is part of it.
    anchors = [n for n in weighted if not any(n.startswith(f"{other}.") for other in weighted)]
    if not anchors:
        raise UserError(f"{type(model).__name__} has no layer with weights; nothing can freeze")
    attached = _attach(model, order, anchors)
    blocks = _blocks(model, anchors)
    layers = []
    for index, anchor in enumerate(anchors):
        names = [anchor] + [m for m in attached[anchor] if m != anchor]
        parameters = tuple(
            f"{m}.{p}" if m else p for m in names for p, _ in modules[m].named_parameters("", False)
        )
        size = sum(model.get_parameter(p).numel() for p in parameters)
        head = index == len(anchors) - 1
        layers.append(Layer(index, anchor, tuple(names), parameters, size, blocks[index], head))
    return tuple(layers)


def execution_order(model: nn.Module, inputs: Inputs) -> list[str]:
    """Names of the modules in the order in which the forward pass first enters them."""
    model = copy.deepcopy(model).eval()
    order: list[str] = []

    def watch(name: str) -> Callable[..., None]:
        def entered(*_: object) -> None:
            if name not in order:
                order.append(name)

        return entered

    for name, module in model.named_modules():
        module.register_forward_pre_hook(watch(name))
    with torch.no_grad():
        model(*inputs)
    # Some modules use the weights of a child without calling it (torchvision's Swin attention):
    # such a child takes the place of the parent.
    for name, module in model.named_modules():
        parent = name.rpartition(".")[0]
        if isinstance(module, _WEIGHTED) and name not in order and parent and parent in order:
            siblings = sum(n.startswith(f"{parent}.") for n in order)
            order.insert(order.index(parent) + 1 + siblings, name)
    return order


def _attach(model: nn.Module, order: list[str], anchors: list[str]) -> dict[str, list[str]]:
    """Give every module that owns parameters or norm statistics to one anchor.

    A LayerNorm goes with the layer after it (pre-norm), other norms and small modules with the
    layer before them. Parameters of a container (a class token, a bias table) go with the first
    layer inside it. What the forward pass never enters goes with the layer registered before it.
    """
    modules = dict(model.named_modules())
    position = {name: i for i, name in enumerate(order)}
    starts = [position[a] for a in anchors]

    def before(i: int) -> str:
        earlier = [a for a, s in zip(anchors, starts, strict=True) if s <= i]
        return earlier[-1] if earlier else anchors[0]

    def after(i: int) -> str:
        later = [a for a, s in zip(anchors, starts, strict=True) if s >= i]
        return later[0] if later else anchors[-1]

    attached: dict[str, list[str]] = {anchor: [] for anchor in anchors}
    registered = anchors[0]  # the last anchor met in the order of registration
    for name, module in modules.items():
        if name in attached:
            registered = name
        owns = any(True for _ in module.parameters(recurse=False))
        if not owns and not isinstance(module, _BatchNorm):
            continue
        inside = [a for a in anchors if not name or a == name or a.startswith(f"{name}.")]
        around = [a for a in anchors if name.startswith(f"{a}.")]
        if inside or around:
            owner = (inside or around)[0]
        elif name not in position:
            owner = registered
        elif isinstance(module, nn.LayerNorm):
            owner = after(position[name])
        else:
            owner = before(position[name])
        attached[owner].append(name)
    return attached


def _blocks(model: nn.Module, anchors: list[str]) -> list[int]:
    """The block of each layer: transformer blocks count as one, other layers stand alone.

    A block is a numbered module with a submodule named like an attention. Layers before the
    first block join it, those between two blocks join the later; the head stands alone.
    """
    names = [name for name, _ in model.named_modules()]
    attention = {n for n in names if "attn" in n.lower() or "attention" in n.lower()}
    roots = {root for name in attention if (root := _numbered_root(name))}
    owners = [next((r for r in roots if a.startswith(f"{r}.")), "") for a in anchors]
    if not any(owners):
        return list(range(len(anchors)))
    blocks: list[int] = []
    following = next(o for o in owners if o)
    seen: dict[str, int] = {}
    for i, owner in enumerate(owners[:-1]):
        following = owner or next((o for o in owners[i:] if o), following)
        blocks.append(seen.setdefault(following, len(seen)))
    return [*blocks, len(seen)]


def _numbered_root(name: str) -> str:
    """The longest leading part of a module's name that ends in a number, or ''."""
    parts = name.split(".")
    last = max((i for i, part in enumerate(parts) if part.isdigit()), default=-1)
    return ".".join(parts[: last + 1])
