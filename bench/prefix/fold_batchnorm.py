"""Folding of BatchNorm into the preceding convolution, in a frozen prefix.

A BatchNorm in eval mode scales and shifts each channel by constants. The preceding convolution can
do the same with adjusted weights. The model's own weights do not change: the folded convolutions
are copies that belong to the cut.
"""

from __future__ import annotations

import copy
from typing import cast

from torch import fx, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.nn.utils.fusion import fuse_conv_bn_weights

from bench.errors import UserError

_FOLDABLE = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


def fold_batchnorms(prefix: fx.GraphModule) -> int:
    """Fold every plain BatchNorm after a convolution of a prefix, and return the number folded."""
    folded = 0
    for before, node in _find_pairs(prefix):
        norm = prefix.get_submodule(str(node.target))
        convolution = cast(_ConvNd, prefix.get_submodule(str(before.target)))
        if norm.training:
            continue
        parent, _, name = str(before.target).rpartition(".")
        # The GraphModule has its own containers, so the model keeps its original convolution.
        setattr(
            prefix.get_submodule(parent),
            name,
            _fold_convolution(convolution, cast(_BatchNorm, norm)),
        )
        node.replace_all_uses_with(before)
        prefix.graph.erase_node(node)
        folded += 1
    prefix.recompile()
    return folded


def require_foldable(model: nn.Module, graph: fx.Graph, label: str) -> None:
    """Raise UserError if a model has BatchNorms, but none that can be folded.

    graph: forward pass of the model.
    label: name of the run, for the message.
    """
    norms = {type(module).__name__ for module in model.modules() if isinstance(module, _BatchNorm)}
    if norms and not _find_pairs(fx.GraphModule(model, graph)):
        raise UserError(
            f"{label}: fold_norms folds torch's own BatchNorms that follow a convolution, but this "
            f"model has only {', '.join(sorted(norms))}, none of which can be folded; set "
            "fold_norms = false"
        )


def _find_pairs(module: fx.GraphModule) -> list[tuple[fx.Node, fx.Node]]:
    """Return each pair of a convolution and a plain BatchNorm that alone reads its output."""
    pairs = []
    for node in module.graph.nodes:
        before = node.args[0] if node.args else None
        if node.op != "call_module" or not isinstance(before, fx.Node):
            continue
        if before.op != "call_module" or len(before.users) > 1:
            continue
        convolution = module.get_submodule(str(before.target))
        if type(convolution) in _FOLDABLE and _is_plain(module.get_submodule(node.target)):
            pairs.append((before, node))
    return pairs


def _is_plain(module: nn.Module) -> bool:
    """Return whether a module is exactly a BatchNorm, with running statistics.

    Subclasses are not plain, because those of timm contain an activation.
    """
    kinds = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
    return type(module) in kinds and module.running_mean is not None


def _fold_convolution(convolution: _ConvNd, norm: _BatchNorm) -> nn.Module:
    made = copy.deepcopy(convolution)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    made.weight, made.bias = fuse_conv_bn_weights(
        convolution.weight,
        convolution.bias,
        norm.running_mean,
        norm.running_var,
        norm.eps,
        norm.weight,
        norm.bias,
    )
    return made.requires_grad_(False)
