"""Outputs of layers and of whole models on a batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from bench.errors import UserError
from bench.layers.discovery import Inputs, Layer
from bench.layers.modes import in_eval_mode


def compute_layer_outputs(
    model: nn.Module, layers: Sequence[Layer], inputs: Inputs
) -> list[torch.Tensor]:
    """Run one batch in eval mode and return every layer's output, flattened to (samples, features).

    The output of a layer is taken from its BatchNorm if it has one, otherwise from its weighted
    module. If only the weights of that module are used, the parent module's output is taken
    (torchvision's Swin attention). If a layer runs more than once, the first output counts. An
    output that does not depend on the sample (position embeddings) is returned as (rows, features).
    The output of an embedding that is never called is its table.

    Raises UserError if a layer has no output.
    """
    modules = dict(model.named_modules())
    samples = len(inputs[0])
    outputs: dict[int, torch.Tensor] = {}
    handles = []
    for layer in layers:
        norms = [n for n in layer.modules if isinstance(modules[n], _BatchNorm)]
        watched = norms[-1] if norms else layer.name

        def keep(_: nn.Module, __: object, output: object, index: int = layer.index) -> None:
            tensor = output[0] if isinstance(output, tuple) else output
            if index not in outputs and isinstance(tensor, torch.Tensor):
                tensor = tensor.detach().clone()  # an in-place ReLU may overwrite it
                # The windows of one image are consecutive along the first dimension.
                by_sample = len(tensor) % samples == 0
                shape = (samples, -1) if by_sample else (-1, tensor.shape[-1])
                outputs[index] = tensor.reshape(shape)

        # The parent's hook runs later, so its output counts only if the module itself was not
        # called.
        for name in (watched, watched.rpartition(".")[0]):
            handles.append(modules[name].register_forward_hook(keep))
    try:
        with torch.no_grad(), in_eval_mode(model):
            model(*inputs)
    finally:
        for handle in handles:
            handle.remove()
    for layer in layers:
        table = modules[layer.name]
        # DeBERTa reads its table of relative positions without calling the module.
        if layer.index not in outputs and isinstance(table, nn.Embedding):
            outputs[layer.index] = table.weight.detach().clone()
    silent = [layer.name for layer in layers if layer.index not in outputs]
    if silent:
        raise UserError(
            f"{type(model).__name__}: these layers have no output in the forward pass: "
            f"{', '.join(silent)}"
        )
    return [outputs[layer.index] for layer in layers]


def get_logits(output: Any) -> torch.Tensor:
    """Return the logits: the output itself, or its `logits` attribute (transformers).

    Raises UserError for an output without logits (a detector, a model with two heads).
    """
    logits = output if isinstance(output, torch.Tensor) else getattr(output, "logits", None)
    if not isinstance(logits, torch.Tensor):
        raise UserError(
            f"the model returns a {type(output).__name__} instead of one tensor of logits;"
            " only classifiers are supported"
        )
    return logits
