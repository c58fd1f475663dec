"""View of a run whose FLOPs, gradients and steps are set directly by a test."""

from __future__ import annotations

from collections.abc import Collection
from types import SimpleNamespace
from typing import Any

import torch

from bench.costs.autograd_graph import Product
from bench.costs.flops import FlopModel
from bench.layers.discovery import Layer
from bench.seeds import make_generator


def build_chain(
    costs: list[int], blocks: list[int] | None = None, joined: Collection[int] = ()
) -> tuple[tuple[Layer, ...], FlopModel]:
    """Return sequential layers and their FLOP model.

    costs: forward FLOPs of each layer; the last one is the head. blocks: block index of each layer.
    joined: indices of layers that share the index of a block but are not inside it, such as
        embeddings.
    """
    last = len(costs) - 1
    blocks = blocks or list(range(len(costs)))
    layers = tuple(
        Layer(
            i, name, (name,), (f"{name}.weight",), 1, blocks[i], i == last, in_block=i not in joined
        )
        for i, name in enumerate(f"layer{i}" for i in range(len(costs)))
    )
    # The input of a layer depends on all layers before it, and its weight on the layer itself.
    products = tuple(Product(c, ((1 << i) - 1, 1 << i), i) for i, c in enumerate(costs))
    return layers, FlopModel(tuple(float(c) for c in costs), products)


class HandView(SimpleNamespace):
    """Replacement for bench.strategy_api.view.View. A test puts the gradients into `grads`."""

    def __init__(
        self,
        costs: list[int],
        blocks: list[int] | None = None,
        joined: Collection[int] = (),
        **values: Any,
    ) -> None:
        layers, flops = build_chain(costs, blocks, joined)
        defaults = {
            "seed": 0,
            "device": torch.device("cpu"),
            "step": 0,
            "frozen": frozenset(),
            "budget": None,
            "base_lr": 0.1,
            "total_steps": 100,
            "warmup_steps": 0.0,
            "steps_per_epoch": 10,
            "samples_per_step": 1.0,
            "task": ("a model", "data"),
            "grads": {},
        }
        super().__init__(layers=layers, flops=flops, **{**defaults, **values})

    @property
    def active(self) -> list[int]:
        return [i for i, layer in enumerate(self.layers) if i not in self.frozen and not layer.head]

    def count_flops(self, inputs: tuple[torch.Tensor, ...]) -> FlopModel:
        flops: FlopModel = self.flops
        return flops

    def gradients(self, layer: int) -> list[torch.Tensor]:
        return [torch.tensor(g) for g in self.grads[layer]]

    def active_parameters(self) -> list[tuple[int, torch.nn.Parameter]]:
        listed = []
        for layer in self.active:
            for gradient in self.gradients(layer):
                parameter = torch.nn.Parameter(torch.zeros_like(gradient))
                parameter.grad = gradient
                listed.append((layer, parameter))
        return listed

    def generator(self, purpose: str) -> torch.Generator:
        return make_generator(self.seed, purpose)
