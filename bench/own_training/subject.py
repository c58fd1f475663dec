"""Analysis of the model that a training loop trains: its layers and its FLOPs."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import torch
from torch import nn

from bench.costs.accounting import MOST_STATES, Accounting
from bench.costs.autograd_graph import find_custom_functions
from bench.costs.flops import FlopModel, count_flops
from bench.costs.flops_by_input_size import FlopsBySize
from bench.errors import UserError, summarise_error
from bench.layers.discovery import Inputs, Layer, find_layers
from bench.models.classifiers import find_classifiers
from bench.own_training.inputs import (
    Example,
    bind_example,
    check_forward,
    check_model,
    find_training_only,
)


@dataclass(frozen=True)
class Subject:
    """Model with an example of its inputs, and its layers.

    net: model that takes `inputs` as positional tensors. It shares all parameters, buffers and
    modules with the model that trains.
    inputs: the example, as a tuple of tensors.
    layers: layers in forward order.
    """

    net: nn.Module
    inputs: Inputs
    layers: tuple[Layer, ...]

    @property
    def samples(self) -> int:
        """Number of samples in the example."""
        return len(self.inputs[0])

    @property
    def size(self) -> int:
        """Size of the last dimension of the example: image width in pixels, or tokens of a text."""
        return self.inputs[0].shape[-1]

    @property
    def device(self) -> torch.device:
        """Device of the model."""
        return find_device(self.net)

    def count_flops(self) -> FlopModel:
        """Return the FLOPs for batches like the example.

        Raises UserError for a model whose FLOPs cannot be counted.
        """
        kind, one = type(self.net).__name__, take_samples(self.inputs, 1)
        try:
            if "CheckpointFunction" in find_custom_functions(self.net, one):
                raise UserError(
                    f"Freezing: {kind} uses gradient checkpointing with use_reentrant=True in eval "
                    "mode too, which hides its layers; switch checkpointing off until Freezing is "
                    "made (timm: model.set_grad_checkpointing(False)), and then use "
                    "use_reentrant=False"
                )
            never_trained = [name for name, p in self.net.named_parameters() if not p.requires_grad]
            flops = count_flops(self.net, self.layers, one, never_trained=never_trained)
        except (UserError, torch.OutOfMemoryError):
            raise
        except Exception as error:  # models have no common error class
            raise UserError(
                f"Freezing: the FLOPs of {kind} cannot be counted "
                f"({summarise_error(error, with_type=True)}); if it uses torch.compile or gradient "
                "checkpointing, switch that off until Freezing is made (timm: "
                "model.set_grad_checkpointing(False))"
            ) from error
        return flops.with_batch(self.samples)

    def make_accounting(self, flops: FlopModel, steps: int, many_sets: bool) -> Accounting:
        """Return running totals of FLOPs.

        steps: planned steps.
        many_sets: whether the frozen layers change every few steps.
        """
        by_size = FlopsBySize(
            lambda _: flops, {self.size: steps * self.samples}, {self.size: steps}
        )
        # The totals are FLOPs only. With the CPU as device, the allocator's peaks stay untouched.
        return Accounting(by_size, torch.device("cpu"), MOST_STATES if many_sets else None)


def analyze(model: nn.Module, example: Example) -> Subject:
    """Return the analysis of a model. Raises UserError if the model is not supported.

    Warns about modules that run only in train mode.
    """
    check_model(model)
    net, inputs = bind_example(model, example)
    one = take_samples(inputs, 1)
    check_forward(net, one)
    # Two samples, because BatchNorm cannot train on one.
    if helping := find_training_only(net, take_samples(inputs, 2)):
        warnings.warn(
            f"Freezing: {', '.join(helping)} of {type(model).__name__} runs only in train mode; it "
            "never freezes, and FLOPs and savings leave it out",
            stacklevel=3,
        )
    return Subject(net, inputs, find_layers(net, one, find_classifiers(model)))


def find_device(model: nn.Module) -> torch.device:
    """Return the device of the first parameter of a model."""
    return next(model.parameters()).device


def take_samples(inputs: Inputs, samples: int) -> Inputs:
    """Return the first samples of a batch."""
    return tuple(value[:samples] for value in inputs)
