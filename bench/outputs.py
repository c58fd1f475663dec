"""What each layer puts out on a batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from bench.layers import Inputs, Layer


def layer_outputs(model: nn.Module, layers: Sequence[Layer], inputs: Inputs) -> list[torch.Tensor]:
    """Run one batch in eval mode and return every layer's output, flattened to (samples, features).

    The output of a layer is that of its BatchNorm where it has one, else of the weighted module.
    """
    modules = dict(model.named_modules())
    outputs: dict[int, torch.Tensor] = {}
    handles = []
    for layer in layers:
        norms = [n for n in layer.modules if isinstance(modules[n], _BatchNorm)]
        watched = norms[-1] if norms else layer.name

        def keep(_: nn.Module, __: object, output: object, index: int = layer.index) -> None:
            tensor = output[0] if isinstance(output, tuple) else output
            assert isinstance(tensor, torch.Tensor)
            outputs[index] = tensor.detach().flatten(1).clone()  # a ReLU may follow in place

        handles.append(modules[watched].register_forward_hook(keep))
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
    return [outputs[layer.index] for layer in layers if layer.index in outputs]
