"""Read-only view of a run, passed to its strategy."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from weakref import WeakSet

import torch
from torch import nn

from bench.costs.flops import FlopModel
from bench.errors import UserError
from bench.layers.activations import compute_layer_outputs
from bench.layers.discovery import Inputs, Layer
from bench.layers.gradients import compute_layer_gradients
from bench.seeds import make_generator, seed_device
from bench.strategy_api.snapshot import ModelSnapshot


@dataclass
class View:
    """Current state of a run, which a strategy may read but not change.

    Attributes:
        layers: layers of the model in forward order; the last one is the head.
        flops: FLOPs per sample for any set of frozen layers, for example `flops.exact({0, 1})`.
        seed: seed of the run.
        device: device of the model.
        base_lr: highest learning rate, which is `lr` of the run or `base_lr` of Freezing.
        warmup: share of the steps in which the learning rate rises from zero.
        total_steps: number of steps of the training.
        steps_per_epoch: number of steps of an epoch.
        samples_per_step: mean number of samples per step.
        budget: training FLOPs (exact) that a matched run may spend, else None.
        artifacts: local files of the strategy by role ("reference", "predictor").
        task: names of the model and the data set.
        step: number of finished steps.
        lr: learning rate that the schedule gives for the last step; inside `learning_rates`, for
            the next step.
        frozen: indices of the frozen layers.
        loss: training loss of the last step, a 0-d tensor on the device without a graph. NaN before
            the first step. A conversion to a Python number waits for the device, so `observe` must
            not convert it.
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
    _probe_loss: Callable[[nn.Module, int], torch.Tensor] = field(repr=False)
    _flops_at: Callable[[int], FlopModel] | None = field(default=None, repr=False)
    warmup: float = 0.0
    step: int = 0
    lr: float = 0.0
    frozen: frozenset[int] = frozenset()
    loss: torch.Tensor = field(default_factory=lambda: torch.tensor(float("nan")))
    _snapshots: WeakSet[ModelSnapshot] = field(default_factory=WeakSet, repr=False)
    _active_at: frozenset[int] | None = field(default=None, repr=False)
    _active: list[int] = field(default_factory=list, repr=False)
    _active_parameters: list[tuple[int, nn.Parameter]] = field(default_factory=list, repr=False)

    def __post_init__(self) -> None:
        # A frozen parameter looks like a parameter that never trains (a fixed position table), so
        # tell them apart before the first freeze.
        names = [name for layer in self.layers for name in layer.parameters]
        self._fixed = [n for n in names if not self._model.get_parameter(n).requires_grad]

    @property
    def active(self) -> list[int]:
        """Indices of the layers that can still freeze: all but frozen layers and the head."""
        self._refresh_active()
        return list(self._active)

    @property
    def warmup_steps(self) -> float:
        """Number of steps in which the learning rate rises from zero; may be fractional."""
        return self.warmup * self.total_steps

    @property
    def epoch(self) -> float:
        """Number of finished epochs, including the fraction of the current one."""
        return self.step / self.steps_per_epoch

    def weights(self, layer: int) -> list[torch.Tensor]:
        """Return the parameters of a layer, the weight first. Do not write to them."""
        return [parameter.detach() for parameter in self._parameters[layer]]

    def parameters(self, layer: int) -> list[nn.Parameter]:
        """Return the parameters of a layer, as the objects that the optimizer updates.

        Unlike the tensors of `weights`, they follow a weight whose storage is replaced, as
        `model.to` does. Do not write to them.
        """
        return list(self._parameters[layer])

    def gradients(self, layer: int) -> list[torch.Tensor]:
        """Return the gradients of a layer's parameters at the last step; [] if it is frozen."""
        return [p.grad for p in self._parameters[layer] if p.grad is not None]

    def active_parameters(self) -> list[tuple[int, nn.Parameter]]:
        """Return (layer, parameter) of all parameters that train in the active layers, in order.

        Read their `.grad`, which is None if the last step computed no gradient. Do not write to
        them. The list is cached, so the call is cheap enough for every step.
        """
        self._refresh_active()
        return self._active_parameters

    @contextmanager
    def forbid_changes(self, strategy: str, method: str) -> Iterator[None]:
        """Raise UserError if the strategy modifies the run inside this block.

        The check compares the version counters of all weights and buffers, which needs no device
        synchronisation. It does not detect a write through `.data`.
        """
        before = self._seen()
        yield
        if self._seen() != before:
            raise UserError(
                f"strategy {strategy}: {method}() changed the weights, buffers, requires_grad, "
                "step, total_steps, seed, learning rate or frozen layers of the run; a strategy "
                "must work on clones, and freezes layers by what decide() returns"
            )

    def _seen(self) -> tuple[object, ...]:
        writes = sum(tensor._version for tensor in self._tensors)
        training = sum(tensor.requires_grad for tensor in self._tensors)
        rates = (self.lr, self.base_lr)
        return self.step, self.total_steps, self.frozen, self.seed, rates, writes, training

    @cached_property
    def _tensors(self) -> list[torch.Tensor]:
        return [*self._model.parameters(), *self._model.buffers()]

    def _refresh_active(self) -> None:
        """Update the cached active layers if the frozen layers have changed."""
        if self._active_at is self.frozen:
            return
        self._active_at = self.frozen
        self._active = [
            i for i, layer in enumerate(self.layers) if i not in self.frozen and not layer.head
        ]
        self._active_parameters = [
            (i, parameter)
            for i in self._active
            for name, parameter in zip(self.layers[i].parameters, self._parameters[i], strict=True)
            if name not in self._fixed
        ]

    @cached_property
    def _parameters(self) -> list[list[nn.Parameter]]:
        """Parameters of every layer, cached because a lookup by name at every step is slow."""
        return [[self._model.get_parameter(n) for n in layer.parameters] for layer in self.layers]

    def probe(self, samples: int) -> Inputs:
        """Return a fixed batch of `samples` training samples without augmentation.

        If a run has fewer training samples, the batch holds all of them.
        The batch is the same for every strategy, and for every seed unless the split of the data
        rotates with the seed. It never holds test data.
        Raises UserError for fewer than one sample. Also raises it if a training loop of your own
        provides fewer samples.
        """
        _check_samples("probe", samples)
        return self._probe(samples)

    def count_flops(self, inputs: Inputs) -> FlopModel:
        """Return the FLOPs per sample at the input size of a batch, for example of a probe.

        `flops` is a mean over the training batches. A batch of texts is padded to its longest text,
        so a large probe costs more per sample. Images have one size. In a training loop of your
        own, the result is `flops`, which is counted at the size of the argument `example`.
        """
        if self._flops_at is None:
            return self.flops
        return self._flops_at(inputs[0].shape[-1]).with_batch(len(inputs[0]))

    def outputs(
        self, inputs: Inputs, state: Mapping[str, torch.Tensor] | None = None
    ) -> list[torch.Tensor]:
        """Return the output of each layer, after its BatchNorm, as a (samples, features) matrix.

        An output that does not depend on the sample (position embeddings) is (rows, features), with
        at most 1,024 evenly spaced rows.
        The model runs in eval mode and without autograd, so no buffer changes.

        Args:
            state: weights to use instead of the model's own, for example those of a reference.
        """
        model = self._model
        if state is not None:
            model = copy.deepcopy(model)
            model.load_state_dict(state)
        return compute_layer_outputs(model, self.layers, inputs)

    def snapshot(self) -> ModelSnapshot:
        """Return a copy of the model's weights and buffers at this step.

        To keep a copy of the initial model, call this method in `start`. When a run resumes,
        restore the copy with `ModelSnapshot.load_state_dict`. `ModelSnapshot.outputs` costs as many
        FLOPs as `View.outputs`. The memory reported for the run includes every snapshot that is
        kept.
        """
        taken = ModelSnapshot(self._model, self.layers, self.step)
        self._snapshots.add(taken)
        return taken

    def count_snapshot_bytes(self) -> int:
        """Return the bytes of all snapshots that the strategy keeps now."""
        return sum(snapshot.bytes for snapshot in self._snapshots)

    def probe_gradients(self, samples: int) -> list[list[torch.Tensor]]:
        """Return gradients of the training loss on `samples` labelled training samples.

        The samples are those of `probe(samples)`, in one batch. The result has one list per layer,
        frozen layers included, with one gradient for each tensor of `weights(layer)`. Gradients of
        unused and of fixed parameters are zeros.

        A copy of the model runs as in a training step, with the run's loss and precision. It is in
        train mode, except for the modules of frozen layers. Dropout draws the same numbers at every
        call. Weights, buffers, `gradients`, optimizer and random streams do not change. For the
        batch b = probe(samples), each call costs `count_flops(b).exact().total * len(b[0])` FLOPs.
        Raises UserError for fewer than one sample.
        """
        _check_samples("probe_gradients", samples)
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices):
            seed_device(self.device, self.seed, "probe gradients")
            return compute_layer_gradients(
                self._model,
                self.layers,
                lambda model: self._probe_loss(model, samples),
                self._fixed,
            )

    def generator(self, purpose: str) -> torch.Generator:
        """Return a new CPU generator for the strategy, derived from the run's seed and `purpose`.

        Every call returns the generator in its initial state.
        """
        return make_generator(self.seed, "strategy", purpose)


def _check_samples(method: str, samples: int) -> None:
    if samples < 1:  # a slice [:-1] would take nearly all samples
        raise UserError(f"view.{method}({samples}) takes no sample; give a number of at least 1")
