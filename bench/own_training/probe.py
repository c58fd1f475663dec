"""Training samples that a strategy may look at, given by the caller."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from bench.errors import UserError
from bench.layers.activations import get_logits
from bench.layers.discovery import Inputs
from bench.own_training.inputs import Example, bind_example
from bench.own_training.subject import find_device, take_samples
from bench.strategy_api.strategy import Strategy

Loss = Callable[[Tensor, Tensor], Tensor]


class ProbeSamples:
    """Fixed training samples without augmentation, for one strategy.

    probe: inputs, and labels or None, on any device. The methods copy what they use to the device
    of the model.
    example: inputs with which the model was analysed; those of the probe have the same names.
    loss: function that returns the training loss for (output, labels).
    Raises UserError if the strategy needs samples or labels that are missing.
    """

    def __init__(
        self,
        model: nn.Module,
        strategy: Strategy,
        name: str,
        probe: tuple[Example, Tensor | None] | None,
        example: Example,
        loss: Loss,
    ) -> None:
        self._model, self._named, self._loss = model, name, loss
        self._inputs: Inputs | None = None
        self._labels: Tensor | None = None
        if probe is not None:
            if not isinstance(probe, (tuple, list)) or len(probe) != 2:
                raise UserError(
                    "Freezing: probe is not a pair; give probe=(inputs, labels), where labels may "
                    "be None"
                )
            self._inputs = bind_example(model, _order_inputs(probe[0], example), "probe[0]")[1]
            self._labels = _read_labels(probe[1])
            if self._labels is not None and len(self._labels) != len(self._inputs[0]):
                raise UserError(
                    f"Freezing: the numbers of inputs ({len(self._inputs[0])}) and of labels "
                    f"({len(self._labels)}) in probe differ; give one label for each sample"
                )
        if strategy.needs_probe and self._inputs is None:
            raise UserError(
                f"Freezing: strategy {name} looks at training samples; give probe=(inputs, labels),"
                " a batch of training samples without augmentation"
            )
        if strategy.needs_probe == "labels" and self._labels is None:
            raise UserError(
                f"Freezing: strategy {name} computes gradients on training samples; give their "
                "labels too: probe=(inputs, labels)"
            )

    def take(self, samples: int) -> Inputs:
        """Return the inputs of the first samples, on the device of the model.

        Raises UserError if there are too few.
        """
        if self._inputs is None:
            raise UserError(
                f"Freezing: strategy {self._named} looks at training samples, but no probe was "
                "given; give probe=(inputs, labels), and set needs_probe in the strategy's class"
            )
        if len(self._inputs[0]) < samples:
            raise UserError(
                f"Freezing: strategy {self._named} looks at {samples} training samples, but probe "
                f"holds {len(self._inputs[0])}; give more, or a smaller option `samples`"
            )
        device = find_device(self._model)
        taken = take_samples(self._inputs, samples)
        return tuple(value.to(device, copy=True) for value in taken)  # a strategy may write to it

    def compute_loss(self, model: nn.Module, samples: int) -> Tensor:
        """Return the training loss of a model on the first samples, with its autograd graph."""
        inputs = self.take(samples)
        if self._labels is None:
            raise UserError(
                f"Freezing: strategy {self._named} computes gradients, but probe has no labels; "
                "give probe=(inputs, labels)"
            )
        labels = self._labels[:samples].to(find_device(self._model))
        return self._loss(get_logits(model(*inputs)), labels)


def _read_labels(labels: Any) -> Tensor | None:
    """Return labels as a tensor. Raises UserError for anything that cannot be one."""
    try:
        return None if labels is None else torch.as_tensor(labels)
    except (TypeError, ValueError, RuntimeError) as error:
        raise UserError(
            f"Freezing: the labels in probe are no tensor ({type(labels).__name__}: "
            f"{' '.join(str(error).split())}); give one label for each sample, or None"
        ) from None


def _order_inputs(inputs: Example, example: Example) -> Example:
    """Return the inputs of a probe in the order in which the model takes those of the example.

    Raises UserError if the names of the two differ, or if only one of them has names.
    """
    given, names = _list_names(inputs), _list_names(example)
    if sorted(given) != sorted(names):
        raise UserError(
            f"Freezing: probe[0] holds {_describe_names(given)}, but example holds "
            f"{_describe_names(names)}; give both the same inputs, in the same form"
        )
    return {name: inputs[name] for name in names} if isinstance(inputs, Mapping) else inputs


def _list_names(example: Example) -> list[str]:
    """Return the names of an example's inputs; [] if it has none."""
    if not isinstance(example, Mapping):
        return []
    return [name for name in example if name != "labels"]


def _describe_names(names: Sequence[str]) -> str:
    return f"the inputs {', '.join(names)}" if names else "inputs without names"
