"""Snapshot of a model: its weights and buffers at one step, to be evaluated later."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from bench.layers.activations import compute_layer_outputs
from bench.layers.discovery import Inputs, Layer


class ModelSnapshot:
    """Copy of a model's weights and buffers (BatchNorm statistics) that later steps do not change.

    `View.snapshot` creates it. A snapshot stays on the device and needs as much memory as the
    model.

    Attributes:
        step: number of finished steps when the copy was made.
    """

    def __init__(self, model: nn.Module, layers: Sequence[Layer], step: int) -> None:
        self._model = copy.deepcopy(model).eval().requires_grad_(False)
        self._layers = layers
        self.step = step

    @property
    def bytes(self) -> int:
        """Bytes of all weights and buffers."""
        return sum(tensor.numel() * tensor.element_size() for _, tensor in self._tensors())

    def weights(self, layer: int) -> list[torch.Tensor]:
        """Return the parameters of a layer, the weight first. Do not write to them."""
        return [self._model.get_parameter(n).detach() for n in self._layers[layer].parameters]

    def outputs(self, inputs: Inputs) -> list[torch.Tensor]:
        """Return the output of each layer as a (samples, features) matrix, as `View.outputs` does.

        The snapshot runs in eval mode and without autograd. The run's model, buffers, mode and
        random streams do not change.
        """
        return compute_layer_outputs(self._model, self._layers, inputs)

    def state_dict(self) -> dict[str, Any]:
        """Return the step and all tensors by name, for the strategy's own `state_dict`.

        The tensors are those of the snapshot. Do not write to them.
        """
        return {"step": self.step, "tensors": dict(self._tensors())}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Replace the step and all tensors, bit for bit, by those that `state_dict` returned."""
        with torch.no_grad():
            for name, tensor in self._tensors():
                tensor.copy_(state["tensors"][name])
        self.step = state["step"]

    def _tensors(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Yield all parameters and buffers by name, including buffers that are not persistent."""
        for name, parameter in self._model.named_parameters():
            yield name, parameter.detach()
        yield from self._model.named_buffers()
