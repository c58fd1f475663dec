"""Outputs of layers and of whole models on a batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from bench.errors import UserError
from bench.layers.discovery import Inputs, Layer
from bench.layers.output_recording import UNKNOWN, choose_watched, record_outputs

MOST_ROWS = 1024  # swinv2_cr has 20,736 rows at 384 pixels, too many for a matrix of similarities


def compute_layer_outputs(
    model: nn.Module, layers: Sequence[Layer], inputs: Inputs
) -> list[torch.Tensor]:
    """Run one batch in eval mode and return every layer's output, flattened to (samples, features).

    The output of a layer is that of its BatchNorm if it has one, otherwise that of its weighted
    module. If only the weights of the weighted module are used, the output of its parent counts
    (torchvision's Swin attention). If a layer runs more than once, the first output counts. An
    output that does not depend on the sample (position embeddings) is returned as (rows, features),
    with at most MOST_ROWS evenly spaced rows. The output of an embedding that is never called is
    its table.

    Raises UserError if a layer has no output, or an output whose samples cannot be told apart.
    """
    modules = dict(model.named_modules())
    samples = len(inputs[0])
    watched = [choose_watched(modules, layer.modules) for layer in layers]
    # Cloned, because an in-place ReLU may overwrite it.
    recorded = record_outputs(model, watched, inputs, lambda tensor: tensor.detach().clone())
    outputs, silent = [], []
    for index, layer in enumerate(layers):
        table = modules[layer.name]
        if index in recorded:
            outputs.append(_flatten_output(recorded[index], layer, samples))
        elif isinstance(table, nn.Embedding):
            # DeBERTa reads its table of relative positions without calling the module.
            outputs.append(table.weight.detach().clone())
        else:
            silent.append(layer.name)
    if silent:
        raise UserError(
            f"{type(model).__name__}: these layers have no output in the forward pass: "
            f"{', '.join(silent)}; use a strategy that does not compare outputs of layers"
        )
    return outputs


def _flatten_output(output: torch.Tensor, layer: Layer, samples: int) -> torch.Tensor:
    """Return an output as (samples, features), or as (rows, features) if it has no samples.

    If the model divides images into windows, the windows of one image must be consecutive along the
    dimension that counts samples. Windows could instead be grouped by position. The shape is then
    the same, so this function cannot detect it.
    """
    if layer.sample_dim is None:
        rows = output.reshape(-1, output.shape[-1] if output.ndim else 1)
        return rows[:: max(1, -(-len(rows) // MOST_ROWS))]
    if layer.sample_dim == UNKNOWN or output.shape[layer.sample_dim] % samples:
        raise UserError(
            f"layer {layer.name}: its output of shape {tuple(output.shape)} cannot be divided "
            f"among the {samples} samples of the batch; use a strategy that does not compare "
            "outputs of layers"
        )
    return output.movedim(layer.sample_dim, 0).reshape(samples, -1)


def get_logits(output: Any) -> torch.Tensor:
    """Return the logits: the output itself, or its `logits` attribute (transformers).

    Raises UserError for an output without logits (a detector, a model with two heads).
    """
    logits = output if isinstance(output, torch.Tensor) else getattr(output, "logits", None)
    if not isinstance(logits, torch.Tensor):
        raise UserError(
            "the model must return one tensor of logits, but returns an object of type "
            f"{type(output).__name__}; use a classifier"
        )
    return logits
