"""Search for layers that stopped training because an earlier layer froze.

`torch.utils.checkpoint` with use_reentrant=True gives a block no gradients if no input of the block
requires one. This happens once all layers before the block are frozen.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from bench.errors import UserError
from bench.layers.discovery import Layer


class LostGradients:
    """Check of the first two steps after each freeze. Nothing waits for the device.

    A missing gradient in one step proves nothing, because a batch may leave the layer out
    (LayerDrop, a mixture of experts). Hooks therefore watch the modules of such layers during the
    second step. Reentrant checkpointing calls these modules in train mode with gradients disabled.
    If the block gets no gradient, the modules are not called again. With
    `zero_grad(set_to_none=False)`, gradients stay as zeros, so the check does not see them as
    missing.
    """

    def __init__(self, model: nn.Module, layers: Sequence[Layer]) -> None:
        self._model, self._layers = model, layers
        self._training: list[int] = []  # layers to look at after the next step
        self._calls: dict[int, set[bool]] = {}  # whether calls record gradients, by watched layer
        self._hooks: list[RemovableHandle] = []

    def watch(self, frozen: frozenset[int]) -> None:
        """Check all layers but `frozen` in the next two steps. If no layer is frozen, stop."""
        self._training = [i for i in range(len(self._layers)) if i not in frozen] if frozen else []
        if not frozen:
            self._stop()

    def check(self, step: int) -> None:
        """Raise UserError if a layer that should train gets no gradient.

        Call this method before the gradients of the step are cleared.
        step: number of steps before this one, for the message.
        """
        for layer, calls in self._calls.items():
            if calls == {False} and self._has_no_gradient(layer):
                raise UserError(
                    f"Freezing: in step {step + 1}, layer {self._layers[layer].name} should train, "
                    "but gets no gradient, because all layers before its checkpointed block are "
                    "frozen; call torch.utils.checkpoint with use_reentrant=False (transformers: "
                    'gradient_checkpointing_kwargs={"use_reentrant": False})'
                )
        self._stop()
        for layer in filter(self._has_no_gradient, self._training):
            self._listen(layer)
        self._training = []

    def _has_no_gradient(self, layer: int) -> bool:
        own = [self._model.get_parameter(name) for name in self._layers[layer].parameters]
        return all(parameter.grad is None for parameter in own)

    def _listen(self, layer: int) -> None:
        """Record the calls of a layer's modules in train mode."""
        calls = self._calls.setdefault(layer, set())

        def note(module: nn.Module, _: Any) -> None:
            if module.training:
                calls.add(torch.is_grad_enabled())

        for name in self._layers[layer].modules:
            module = self._model.get_submodule(name)
            self._hooks.append(module.register_forward_pre_hook(note))

    def _stop(self) -> None:
        for hook in self._hooks:
            hook.remove()
        self._hooks, self._calls = [], {}
