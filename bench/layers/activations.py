"""What each layer puts out on a batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from bench.errors import UserError
from bench.layers.discovery import Inputs, Layer


def compute_layer_outputs(
    model: nn.Module, layers: Sequence[Layer], inputs: Inputs
) -> list[torch.Tensor]:
    """Run one batch in eval mode and return every layer's output, flattened to (samples, features).

    The output of a layer is that of its BatchNorm where it has one, else of the weighted module;
    of the module around it where only its weights are used (torchvision's Swin attention). Where
    it runs more than once, the first output counts. What is the same for every sample (the
    embeddings of positions) has its own rows. Raises UserError for a layer without output.
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
                tensor = tensor.detach().clone()  # a ReLU may follow in place
                # Windows of one image lie one after the other along the first dimension.
                by_sample = len(tensor) % samples == 0
                shape = (samples, -1) if by_sample else (-1, tensor.shape[-1])
                outputs[index] = tensor.reshape(shape)

        # A module's hook runs before that of the one around it, which counts if it stays silent.
        for name in (watched, watched.rpartition(".")[0]):
            handles.append(modules[name].register_forward_hook(keep))
    training = {name: module.training for name, module in modules.items()}
    model.eval()
    try:
        with torch.no_grad():
            model(*inputs)
    finally:
        for handle in handles:
            handle.remove()
        for name, module in modules.items():
            module.training = training[name]
    silent = [layer.name for layer in layers if layer.index not in outputs]
    if silent:
        raise UserError(f"{type(model).__name__}: no output is seen of {', '.join(silent)}")
    return [outputs[layer.index] for layer in layers]


def get_logits(output: Any) -> torch.Tensor:
    """The logits of a model's output: itself, or the `logits` of a transformers output.

    Raises UserError for an output without logits (a detector's, a model with two heads).
    """
    logits = output if isinstance(output, torch.Tensor) else getattr(output, "logits", None)
    if not isinstance(logits, torch.Tensor):
        raise UserError(
            f"the model puts out {type(output).__name__}, not one tensor of logits;"
            " only classifiers can be trained here"
        )
    return logits
