"""What a strategy may see of a run: everything it needs to decide, and must not change."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import torch
from torch import nn

from bench.costs.flops import FlopModel
from bench.errors import UserError
from bench.layers.activations import compute_layer_outputs
from bench.layers.discovery import Inputs, Layer
from bench.seeds import make_generator


@dataclass
class View:
    """The state of a run at one moment.

    step counts finished steps; lr is the schedule's learning rate of the step just made.
    samples_per_step: the mean number of samples a step sees.
    budget: training FLOPs (exact) that a matched run may cost, else None.
    artifacts: local files a strategy asked for, by what they are ("reference", "predictor").
    task: names of the model and the data set.
    """

    layers: Sequence[Layer]
    flops: FlopModel
    seed: int
    device: torch.device
    base_lr: float
    total_steps: int
    steps_per_epoch: int
    samples_per_step: float
    budget: float | None
    artifacts: Mapping[str, Path]
    task: tuple[str, str]
    _model: nn.Module = field(repr=False)
    _probe: Callable[[int], Inputs] = field(repr=False)
    step: int = 0
    lr: float = 0.0
    frozen: frozenset[int] = frozenset()
    _active_at: frozenset[int] | None = field(default=None, repr=False)
    _active: list[int] = field(default_factory=list, repr=False)
    _active_parameters: list[nn.Parameter] = field(default_factory=list, repr=False)

    @property
    def active(self) -> list[int]:
        """Indices of the layers that may still freeze: neither frozen nor the head."""
        self._refresh_active()
        return list(self._active)

    @property
    def epoch(self) -> float:
        """Epochs finished, with their fraction."""
        return self.step / self.steps_per_epoch

    def weights(self, layer: int) -> list[torch.Tensor]:
        """The parameters of a layer, the weight first; read only."""
        return [parameter.detach() for parameter in self._parameters[layer]]

    def gradients(self, layer: int) -> list[torch.Tensor]:
        """The gradients of a layer's parameters at the step just made; none if it is frozen."""
        return [p.grad for p in self._parameters[layer] if p.grad is not None]

    def active_gradients(self) -> list[torch.Tensor]:
        """What `gradients` gives for each active layer in turn, in one list.

        Nothing is searched for: a strategy may ask after every step.
        """
        self._refresh_active()
        return [g for p in self._active_parameters if (g := p.grad) is not None]

    @contextmanager
    def only_looked_at(self, strategy: str, method: str) -> Iterator[None]:
        """Raise UserError if what a strategy does inside changes the run: then it measures nothing.

        Tensors count how often they were written to; to read that waits for no device. A write
        through `.data` is not counted.
        """
        before = self._seen()
        yield
        if self._seen() != before:
            raise UserError(
                f"strategy {strategy}: {method}() changed weights, buffers, step, total_steps or "
                "frozen of the run that it was shown; let it work on clones"
            )

    def _seen(self) -> tuple[object, ...]:
        writes = sum(tensor._version for tensor in self._tensors)
        return self.step, self.total_steps, self.frozen, writes

    @cached_property
    def _tensors(self) -> list[torch.Tensor]:
        return [*self._model.parameters(), *self._model.buffers()]

    def _refresh_active(self) -> None:
        """Find out what is active, if that may have changed."""
        if self._active_at is self.frozen:
            return
        self._active_at = self.frozen
        self._active = [
            i for i, layer in enumerate(self.layers) if i not in self.frozen and not layer.head
        ]
        self._active_parameters = [p for i in self._active for p in self._parameters[i]]

    @cached_property
    def _parameters(self) -> list[list[nn.Parameter]]:
        """The parameters of every layer; finding them by name at every step would cost time."""
        return [[self._model.get_parameter(n) for n in layer.parameters] for layer in self.layers]

    def probe(self, samples: int) -> Inputs:
        """A fixed batch of training samples, as in evaluation: no augmentation, never test data.

        The same for every strategy and seed of a task.
        """
        return self._probe(samples)

    def outputs(
        self, inputs: Inputs, state: Mapping[str, torch.Tensor] | None = None
    ) -> list[torch.Tensor]:
        """Each layer's output (after its BatchNorm) on a batch, in eval mode and without a graph.

        state: weights to use in place of the model's own (a reference's). No buffer changes.
        """
        model = self._model
        if state is not None:
            model = copy.deepcopy(model)
            model.load_state_dict(state)
        return compute_layer_outputs(model, self.layers, inputs)

    def generator(self, purpose: str) -> torch.Generator:
        """A random generator on the CPU of the strategy's own, from the run's seed."""
        return make_generator(self.seed, "strategy", purpose)
