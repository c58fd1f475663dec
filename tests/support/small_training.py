"""Training of small models with the harness's optimizer and freezer, and comparison of tensors."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn
from torch.nn import functional as F

from bench.layers.discovery import Layer
from bench.layers.freezing import Freezer
from bench.training.optimizer import build_optimizer
from tests.support.small_models import Family, make_labels


class Training:
    """Model of a family with its optimizer and freezer. The step number seeds each batch."""

    def __init__(
        self,
        family: Family,
        name: str = "sgd",
        by_layer: bool = False,
        keep_state: bool = False,
        keep_dropout: bool = False,
    ) -> None:
        self.family, self.layers = family, family.layers
        self.model = family.model()
        self.optimizer = build_optimizer(
            name, self.model, self.layers, lr=0.05, momentum=0.9, weight_decay=0.01,
            by_layer=by_layer,
        )  # fmt: skip
        self.freezer = Freezer(self.model, self.optimizer, self.layers, keep_state, keep_dropout)

    def step(self, number: int) -> None:
        self.model.train()  # as training loops do after an evaluation
        train_step(self.model, self.optimizer, self.family, number)

    def state(self, layer: int) -> dict[str, torch.Tensor]:
        """Return copies of a layer's parameters and buffers by name."""
        return copy_state(self.model, self.layers[layer])


def train_step(
    model: nn.Module, optimizer: torch.optim.Optimizer, family: Family, number: int
) -> None:
    torch.manual_seed(number)  # dropout
    optimizer.zero_grad(set_to_none=True)
    F.cross_entropy(model(*family.inputs(3, seed=number)), make_labels(3, seed=number)).backward()
    optimizer.step()


def copy_state(model: nn.Module, layer: Layer) -> dict[str, torch.Tensor]:
    buffers = [
        f"{module}.{name}".removeprefix(".")
        for module in layer.modules
        for name, _ in model.get_submodule(module).named_buffers(recurse=False)
    ]
    state = dict(model.state_dict(keep_vars=True))
    return {name: state[name].detach().clone() for name in (*layer.parameters, *buffers)}


def find_differing(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> list[str]:
    """Return the names of the tensors that differ in any bit."""
    assert one.keys() == other.keys()
    return [name for name in one if not torch.equal(one[name], other[name])]


def get_parameters(training: Training, indices: Iterable[int]) -> list[nn.Parameter]:
    return [
        training.model.get_parameter(name)
        for index in indices
        for name in training.layers[index].parameters
    ]
