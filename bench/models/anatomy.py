"""Layers and FLOPs of named models."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from bench.costs.autograd_graph import Checkpointing
from bench.costs.flops import FlopModel, count_flops
from bench.errors import UserError, summarise_error
from bench.layers.activations import get_logits
from bench.layers.discovery import Inputs, Layer, find_layers
from bench.models.catalogue import build as build_model
from bench.models.catalogue import describe_size
from bench.models.classifiers import find_classifiers
from bench.models.texts.catalogue import find_text_model
from bench.models.texts.checkpointed_blocks import require_checkpointed_blocks


def analyze_model(
    model: str,
    classes: int,
    size: int,
    *,
    checkpointing: bool = False,
    keep_dropout: bool = False,
) -> tuple[tuple[Layer, ...], FlopModel]:
    """Return the layers and FLOPs of a model by name; the weights do not matter.

    size: side of the images in pixels, or length of the texts in tokens.
    checkpointing: whether the forward pass of each block runs again during the backward pass.
    keep_dropout: whether dropout stays on in frozen layers.
    Raises UserError if the model cannot run at this size, or has no blocks to checkpoint.
    """
    return _analyze_model(model, classes, size, checkpointing, keep_dropout and checkpointing)


@lru_cache(maxsize=64)
def _analyze_model(
    model: str, classes: int, size: int, checkpointing: bool, keep_dropout: bool
) -> tuple[tuple[Layer, ...], FlopModel]:
    sample: Inputs
    if text_model := find_text_model(model):
        net, sample = text_model.sketch(classes, size)
        _check_trace(model, net, sample)
    else:
        net = build_model(model, classes, size, seed=0)
        sample = (torch.zeros(1, 3, size, size),)
        _check_forward(model, net, sample[0])
    layers = find_layers(net, sample, find_classifiers(net))
    again = None
    if checkpointing:
        again = Checkpointing(require_checkpointed_blocks(net, model), keep_dropout)
    return layers, count_flops(net, layers, sample, again)


class _LastOperator(TorchDispatchMode):
    """Dispatch mode that remembers the operator that ran last."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # untyped in torch
        self.name = "its first operator"

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.name = str(func)
        return func(*args, **(kwargs or {}))


def _check_trace(name: str, net: nn.Module, inputs: Inputs) -> None:
    """Raise UserError if a model on torch's meta device fails. The message names the last operator.

    On this device, tensors have shapes but no values.
    """
    last = _LastOperator()
    try:
        with torch.no_grad(), last:
            get_logits(net(*inputs))
    except UserError:
        raise
    except Exception as error:  # each family raises errors of its own
        reason = summarise_error(error)
        raise UserError(
            f"model {name}: {type(net).__name__} fails at {last.name} when it is traced without "
            f"data and with the mask of a padded batch ({reason}); use another model"
        ) from None


def _check_forward(name: str, net: nn.Module, images: Tensor) -> None:
    """Raise UserError if the model cannot process images of this shape."""
    net.eval()
    shape = " × ".join(map(str, images.shape[1:]))
    try:
        with torch.no_grad():
            empty = not get_logits(net(images)).numel()
        reason = "the result is empty" if empty else ""
    except UserError:
        raise
    except Exception as error:  # the libraries have no common error class
        reason = summarise_error(error)
    finally:
        net.train()
    if reason:
        raise UserError(
            f"model {name} cannot run on images of {shape} ({reason}); {describe_size(name)}"
        )
