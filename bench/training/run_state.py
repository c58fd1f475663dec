"""State of a run that is being executed, shared by training steps and freezing stages."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.batches.factory import count_batches, make_batches
from bench.batches.order import IGNORED_LABEL
from bench.costs.accounting import MOST_STATES, Accounting
from bench.costs.clocks import Clocks
from bench.costs.energy import open_meter
from bench.costs.flops_by_input_size import FlopsBySize
from bench.costs.fused_attention import uses_fused_attention
from bench.data.catalogue import holds_texts
from bench.distributed.process_group import ALONE, ProcessGroup
from bench.layers.activations import get_logits
from bench.layers.discovery import Layer
from bench.layers.freezing import Freezer
from bench.machine.torch_settings import set_up_process
from bench.models.anatomy import analyze_model
from bench.models.texts.checkpointed_blocks import checkpoint_blocks
from bench.prefix.prefix_forward import PrefixForward
from bench.results.evaluation_file import SampleOutcomes
from bench.spec import Spec
from bench.strategy_api.view import View
from bench.training.compiled_step import Compiled
from bench.training.components import (
    build_strategy,
    choose_device,
    compute_budget,
    find_artifacts,
    make_initial_model,
)
from bench.training.input_check import check_unchanged
from bench.training.optimizer import build_optimizer


class RunState:
    """Data, model, strategy, optimizer, clocks, energy and records of a run.

    strategy_name: name of the strategy, for messages.
    frozen_at: number of finished steps when each frozen layer froze, by layer index.
    epochs, decisions: lines of epochs.jsonl and decisions.jsonl.
    loss_sum: sum of the losses of the current epoch, on the device.
    score: score on the evaluation split in points (see `score_part`), None before the evaluation.
    scored: number of samples that the score is based on; for masked words, number of predictions.
    evaluation: outcome of each of these samples, None before the evaluation.
    resumed: whether the run was restored from a checkpoint.
    """

    def __init__(self, spec: Spec, results: Path, group: ProcessGroup = ALONE) -> None:
        assert group.size == spec.replicas, "the number of processes must equal spec.replicas"
        self.spec, self.group = spec, group
        self.device = choose_device(spec)
        check_unchanged(spec)
        set_up_process(spec)
        self.clocks = Clocks(self.device)
        self.batches, classes = make_batches(spec, self.device, group)
        self.layers, by_size = self._analyze_model(classes)
        self.flops = by_size.mean
        self.model = make_initial_model(spec, classes, self.layers, results).to(self.device)
        if spec.checkpointing:
            checkpoint_blocks(self.model, spec.label)
        if spec.channels_last:
            self.model.to(memory_format=torch.channels_last)
        self.model = group.sync_batchnorm(self.model)
        self.strategy, self.strategy_name = build_strategy(spec), spec.strategy_name
        self.optimizer = self.build_optimizer(self.model)
        self.freezer = Freezer(
            self.model,
            self.optimizer,
            self.layers,
            keep_state=self.strategy.keeps_optimizer_state,
            keep_dropout=spec.frozen_dropout,
        )
        most_states = MOST_STATES if self.strategy.switches_often else None
        self.accounting = Accounting(
            by_size, self.device, most_states, group.size, fused=self._is_attention_fused()
        )
        self.energy = open_meter(self.device, group.size)
        group.attach(self.model, self.layers, self.strategy.switches_often)
        self.prefix_forward: PrefixForward | None = None
        self.compiled: Compiled | None = None
        self.view = View(
            layers=self.layers,
            flops=self.flops,
            seed=spec.seed,
            device=self.device,
            base_lr=spec.lr,
            total_steps=spec.epochs * self.batches.steps_per_epoch,
            steps_per_epoch=self.batches.steps_per_epoch,
            samples_per_step=self.batches.samples / self.batches.steps_per_epoch,
            budget=compute_budget(spec, results),
            artifacts=find_artifacts(spec, results),
            task=(spec.model, spec.data_name),
            warmup=spec.warmup,
            loss=torch.full((), float("nan"), device=self.device),
            _model=self.model,
            _probe=self.batches.probe,
            _probe_loss=self._compute_probe_loss,
            _flops_at=by_size.at if holds_texts(spec.data) else None,
        )
        self.frozen_at: dict[int, int] = {}
        self.epochs: list[dict[str, Any]] = []
        self.decisions: list[dict[str, Any]] = []
        self.loss_sum = torch.zeros((), device=self.device)
        self.score: float | None = None
        self.scored = 0
        self.evaluation: SampleOutcomes | None = None
        self.resumed = False

    def _analyze_model(self, classes: int) -> tuple[tuple[Layer, ...], FlopsBySize]:
        """Return the layers of the model, and its FLOPs at each size of the batches."""
        spec, sizes = self.spec, self.batches.count_samples_by_size()
        analyze = partial(
            analyze_model,
            spec.model,
            classes,
            checkpointing=spec.checkpointing,
            keep_dropout=spec.frozen_dropout,
        )
        batches = count_batches(self.batches, spec, self.group.size)
        layers, _ = analyze(next(iter(sizes)))
        return layers, FlopsBySize(lambda size: analyze(size)[1], sizes, batches)

    def release(self) -> None:
        """Delete all attributes, such as the model and the data. No other method works afterwards.

        View and run refer to each other. Without this call, the memory would only be freed by a
        later garbage collection, while the next run already needs memory of its own.
        """
        vars(self).clear()

    def has_finite_weights(self) -> bool:
        """Return whether all weights are finite. The call waits for the device."""
        return bool(torch.stack([w.isfinite().all() for w in self.model.parameters()]).all())

    def build_optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """Build the optimizer of the spec for the model or for a copy of it."""
        return build_optimizer(
            self.spec.optimizer,
            model,
            self.layers,
            lr=self.spec.lr,
            momentum=self.spec.momentum,
            weight_decay=self.spec.weight_decay,
            nesterov=self.spec.nesterov,
            by_layer=self.strategy.sets_learning_rates,
        )

    def _is_attention_fused(self) -> bool:
        """Return whether attention runs fused kernels in the training steps of this run."""
        if not self.flops.has_attention:
            return False
        few = self.batches.probe(min(2, self.batches.samples))
        return uses_fused_attention(self.model, few, self.autocast)

    def compute_loss(self, output: Any, labels: Tensor) -> Tensor:
        """Return the mean training loss of a model's output on a batch, 0-d."""
        return F.cross_entropy(
            get_logits(output).flatten(0, -2),
            labels.flatten(),
            ignore_index=IGNORED_LABEL,
            label_smoothing=self.spec.label_smoothing,
        )

    def _compute_probe_loss(self, model: nn.Module, samples: int) -> Tensor:
        """Return the training loss of a model on the labelled probe, with a graph."""
        inputs, labels = self.batches.labelled_probe(samples)
        with self.autocast():
            return self.compute_loss(model(*inputs), labels)

    def autocast(self) -> AbstractContextManager[Any]:
        """Return the autocast context of forward passes for the precision of the spec."""
        if self.spec.precision == "bfloat16":
            return torch.autocast(self.device.type, dtype=torch.bfloat16)
        return nullcontext()

    def watch_strategy(self, method: str) -> AbstractContextManager[None]:
        """Return a context that checks that a strategy's `method` does not modify the run.

        Enter it before the decide clock, so that the check is not charged to the strategy.
        """
        return self.view.forbid_changes(self.strategy_name, method)
