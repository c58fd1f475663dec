"""One run: train one model once, measure it, and record what came out."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import nn

from bench.batches.factory import batches_of
from bench.batches.order import NOT_ASKED, batch_samples
from bench.costs.accounting import Accounting
from bench.costs.clocks import Clocks
from bench.costs.flops_by_input_size import FlopsBySize
from bench.costs.saved_memory import SavedBytes, state_bytes
from bench.data.interface.metrics import METRICS
from bench.distributed.process_group import ALONE, Team
from bench.errors import UserError
from bench.layers.activations import output_tensor
from bench.layers.discovery import Inputs
from bench.layers.freezing import Freezer
from bench.machine.torch_settings import set_up_process
from bench.models.anatomy import anatomy
from bench.prefix.prefix_forward import Shortcut
from bench.results.run_folder import RunFolder
from bench.seeds import seed_device
from bench.spec import Spec
from bench.strategy_api.output_checks import (
    checked_cadence,
    checked_cost,
    checked_rates,
    checked_steps,
    checked_verdicts,
)
from bench.strategy_api.view import View
from bench.training.checkpoint import (
    check_plain,
    load_checkpoint,
    restore,
    save_checkpoint,
    state_of,
)
from bench.training.compiled_step import Compiled
from bench.training.components import artifacts_of, budget_of, device_of, model_of, strategy_of
from bench.training.input_check import check_contents
from bench.training.optimizer import build_optimizer, schedule, set_learning_rates, warming
from bench.training.run_record import (
    decision_line,
    epoch_line,
    record,
    record_environment,
    result_of,
)
from bench.training.warm_up import warm_up

if TYPE_CHECKING:
    from bench.strategy_api.strategy import Verdict

CHECKPOINT_SECONDS = 60.0


class Stopped(Exception):
    """The run was asked to stop; its checkpoint is written."""


class Diverged(Exception):
    """The loss is no longer finite."""


def execute(
    spec: Spec,
    results: Path,
    *,
    stop: Callable[[], bool] = lambda: False,
    progress: Callable[[int, int], None] = lambda step, steps: None,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    team: Team = ALONE,
) -> dict[str, Any]:
    """Train, measure and record a run, going on from its checkpoint if there is one.

    stop: asked after every step; when true, a checkpoint is written and Stopped raised.
    progress: told (finished steps, all steps) after every step.
    team: the processes of a run with replicas, of which each executes it (bench/distributed).
    Returns the result, which is also on disk. Raises UserError for what the user can mend.
    """
    folder = team.folder(results, spec.id)
    folder.create()
    folder.clear_leftovers()
    run = Run(spec, results, team)
    try:
        run.prepare(folder)
        run.train(folder, stop, progress, checkpoint_seconds)
        run.evaluate()
        result = result_of(run, "done", "")
    except Diverged as error:
        result = result_of(run, "diverged", str(error))
    if team.first:
        record(run, folder, result)
    return result


class Run:
    """The state of one run, from its making to its result."""

    def __init__(self, spec: Spec, results: Path, team: Team = ALONE) -> None:
        assert team.size == spec.replicas, "a run is made by as many processes as it says"
        self.spec, self.team = spec, team
        self.device = device_of(spec)
        check_contents(spec)
        set_up_process(spec)
        self.clocks = Clocks(self.device)
        self.batches, classes = batches_of(spec, self.device, team)
        sizes = self.batches.sizes()
        self.layers, _ = anatomy(spec.model, classes, next(iter(sizes)))
        by_size = FlopsBySize(lambda size: anatomy(spec.model, classes, size)[1], sizes)
        self.flops = by_size.mean
        self.model = model_of(spec, classes, self.layers, results).to(self.device)
        if spec.channels_last:
            self.model.to(memory_format=torch.channels_last)
        self.model = team.joined(self.model)
        self.strategy, self.named = strategy_of(spec), spec.strategy_name
        self.optimizer = self._optimizer_of(self.model)
        self.freezer = Freezer(self.model, self.optimizer, self.layers)
        self.accounting = Accounting(by_size, self.device)
        team.attach(self.model, self.layers)
        self.shortcut: Shortcut | None = None
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
            budget=budget_of(spec, results),
            artifacts=artifacts_of(spec, results),
            task=(spec.model, spec.data_name),
            _model=self.model,
            _probe=self.batches.probe,
        )
        self.frozen_at: dict[int, int] = {}
        self.epochs: list[dict[str, Any]] = []
        self.decisions: list[dict[str, Any]] = []
        self.loss_sum = torch.zeros((), device=self.device)
        self.score: float | None = None
        self.scored = 0
        self.resumed = False

    def prepare(self, folder: RunFolder) -> None:
        """Start the strategy, or take up the run where its checkpoint left it."""
        folder.write(
            "spec.json", {"id": self.spec.id, "cell": self.spec.cell, **self.spec.to_dict()}
        )
        record_environment(self, folder)
        self.model.train()
        if self.device.type == "cuda":
            batch = self.batches.probe(min(self.spec.batch_size, self.batches.samples))
            warm_up(self.model, self._optimizer_of, batch, self._autocast)
            torch.cuda.empty_cache()  # what the copy had is not reserved by the run
        if self.spec.cache_prefix or self.spec.fold_norms:
            self.shortcut = Shortcut(
                self.spec,
                self.model,
                self.layers,
                self.flops,
                self.batches,
                self.device,
                folder.path,
                self._autocast,
            )
        if self.spec.compiled:
            self._prepare_compiled()
        with self.clocks.region("decide"):
            steps = checked_steps(self.named, self.strategy.total_steps(self.view))
            self.view.total_steps = self.team.first_ones(steps)
        with self._looking("start"), self.clocks.region("decide"):
            self.strategy.start(self.view)
        self._try_strategy()
        if folder.checkpoint.exists():
            restore(self, load_checkpoint(folder.checkpoint, self.spec.id, self.device))
            self.accounting.forget_peaks()  # those of the checkpoint beside what it was loaded into
            return
        self.accounting.enter_state(0, self.freezer.frozen)
        self._stage()

    def _optimizer_of(self, model: nn.Module) -> torch.optim.Optimizer:
        return build_optimizer(
            self.spec.optimizer,
            model,
            self.layers,
            lr=self.spec.lr,
            momentum=self.spec.momentum,
            weight_decay=self.spec.weight_decay,
            by_layer=self.strategy.sets_learning_rates,
        )

    def _try_strategy(self) -> None:
        """Ask what is asked late in a run, while nothing is lost by a wrong answer."""
        for method in ("observations", "stages"):
            checked_cadence(self.named, method, getattr(self.strategy, method)())
        checked_cost(self.named, self.strategy.cost())
        check_plain(self.strategy.state_dict(), f"strategy {self.named}: state_dict()")

    def _prepare_compiled(self) -> None:
        spec = self.spec
        if len(self.batches.sizes()) > 1:
            raise UserError(
                f"{spec.label}: compiled needs inputs of one size, its texts differ in length; "
                "leave it off"
            )
        full = min(spec.batch_size, self.batches.samples)
        self.compiled = Compiled(spec.label, self.model, self.device, full, spec.threads)

    def train(
        self,
        folder: RunFolder,
        stop: Callable[[], bool],
        progress: Callable[[int, int], None],
        checkpoint_seconds: float,
    ) -> None:
        """Make the remaining steps; check the loss and write a line at each epoch's end."""
        view, saved_at = self.view, time.monotonic()
        with self.clocks.region("train"):
            while view.step < view.total_steps:
                self.step()
                if self.strategy.observations().due(view.step, view.steps_per_epoch):
                    with self._looking("observe"), self.clocks.inside_step("decide"):
                        self.strategy.observe(view)
                if view.step % view.steps_per_epoch == 0 or view.step == view.total_steps:
                    self._end_epoch(folder)
                self._stage()
                progress(view.step, view.total_steps)
                stopping = self.team.agreed(stop())
                if stopping or time.monotonic() - saved_at >= checkpoint_seconds:
                    with self.clocks.region("prepare"):
                        self._save(folder)
                    saved_at = time.monotonic()
                if stopping and view.step < view.total_steps:
                    raise Stopped
        # The last stage came after the last epoch's lines were written.
        with self.clocks.region("prepare"):
            folder.write_lines("decisions.jsonl", self.decisions)

    def evaluate(self) -> None:
        """Score the evaluation split by the task's metric, in percent."""
        with self.clocks.region("evaluate"), torch.inference_mode(), self._autocast():
            self.team.share_buffers()
            self.model.eval()
            predicted, truth = [], []
            for inputs, labels in self.batches.evaluation():
                asked = labels != NOT_ASKED
                predicted.append(output_tensor(self.model(*inputs)).argmax(-1)[asked])
                truth.append(labels[asked])
            told, true = self.team.gathered(predicted), self.team.gathered(truth)
            self.scored = len(true)
            self.score = METRICS[self.batches.metric](told, true)

    def step(self) -> None:
        """One training step."""
        view = self.view
        # For dropout.
        seed_device(self.device, self.spec.seed, "step", view.step, *self.team.stream)
        view.lr = self.spec.lr * schedule(view.step, view.total_steps, self.spec.warmup)
        rates: Sequence[float] = [view.lr]
        if self.strategy.sets_learning_rates:
            warm = warming(view.step, view.total_steps, self.spec.warmup)
            answer = self.strategy.learning_rates(view)
            rates = [warm * r for r in checked_rates(self.named, answer, len(self.layers))]
        set_learning_rates(self.optimizer, rates)
        self.accounting.begin_step()
        inputs, labels = (self.shortcut or self.batches).batch(view.step)
        samples = batch_samples(view.step, self.batches.samples, self.spec.batch_size)
        self.optimizer.zero_grad(set_to_none=True)
        # Once a freeze state, on its first full batch; a short one before it is a stopgap.
        size = inputs[0].shape[-1]
        unmeasured = self.accounting.now.outgrown_by(len(labels), size)
        measure = SavedBytes(self.model) if unmeasured else nullcontext()
        with self._compiling(len(labels)):
            with measure, self._autocast():
                logits = output_tensor(self._forward(inputs))
                loss = F.cross_entropy(
                    logits.flatten(0, -2),
                    labels.flatten(),
                    ignore_index=NOT_ASKED,
                    label_smoothing=self.spec.label_smoothing,
                )
                loss = self.team.weighted(loss, len(labels), samples)
            loss.backward()
        self.team.sum_gradients()
        self.optimizer.step()
        self.accounting.end_step(samples, size, self.team.sent)

        if isinstance(measure, SavedBytes):
            state = self.accounting.now
            state.measured, state.measured_size = len(labels), size
            state.saved_bytes = measure.bytes
            state.state_bytes = state_bytes(self.model, self.optimizer)
        self.loss_sum += self.team.total(loss.detach())
        view.step += 1

    def _forward(self, inputs: Inputs) -> Any:
        if self.compiled:
            return self.compiled.forward(inputs)
        if self.shortcut is None:
            return self.model(*inputs)
        return self.shortcut.forward(self.view.step, inputs, self.accounting.now)

    def _compiling(self, samples: int) -> AbstractContextManager[None]:
        if self.compiled is None:
            return nullcontext()
        return self.compiled.step(samples, self.accounting.now)

    def _stage(self) -> None:
        """Ask the strategy what to freeze, if it wants to be asked now, and do it.

        After the last step it is asked too, for its records; then nothing freezes any more.
        """
        view = self.view
        if not self.strategy.stages().due(view.step, view.steps_per_epoch):
            return
        self.team.share_buffers()
        with self._looking("decide"), self.clocks.region("decide"):
            answer = self.strategy.decide(view)  # which may give its verdicts one by one
            verdicts = checked_verdicts(self.named, answer, len(self.layers))
        with self.clocks.region("decide"):
            verdicts = self.team.first_ones(verdicts)
            if view.step < view.total_steps:
                self._carry_out(verdicts)
        with self.clocks.region("prepare"):  # to keep a record is no part of the method
            self.decisions += [decision_line(view, v) for v in verdicts]

    def _carry_out(self, verdicts: Sequence[Verdict]) -> None:
        """Freeze and thaw what was decided; what changes begins a freeze state.

        Raises UserError if nothing is left that trains.
        """
        view, before = self.view, self.freezer.frozen
        self.freezer.freeze(v.layer for v in verdicts if v.freeze and v.layer not in before)
        self.freezer.thaw([v.layer for v in verdicts if not v.freeze and v.layer in before])
        view.frozen = self.freezer.frozen
        for layer in view.frozen - before:
            self.frozen_at[layer] = view.step
        for layer in before - view.frozen:
            del self.frozen_at[layer]
        if view.frozen != before:
            self.team.regroup()
            self.accounting.enter_state(view.step, view.frozen)
            if self.shortcut:
                self.shortcut.enter(view.step)
            if self.compiled:
                self.compiled.enter()
            self.accounting.forget_peaks()  # those of what has just been given back
        if len(view.frozen) == len(self.layers):
            raise UserError(
                f"{self.spec.label}: every layer is frozen after step {view.step}, so nothing "
                "trains; a strategy must leave one"
            )

    def _end_epoch(self, folder: RunFolder) -> None:
        """Write the epoch's line. Raises Diverged if its mean loss is not finite."""
        self.accounting.read_device()
        steps = self.view.step - (self.epochs[-1]["step"] if self.epochs else 0)
        loss = self.loss_sum.item() / steps
        self.loss_sum.zero_()
        self.epochs.append(epoch_line(self, loss))
        with self.clocks.region("prepare"):
            folder.write_lines("epochs.jsonl", self.epochs)
            folder.write_lines("decisions.jsonl", self.decisions)
        if not math.isfinite(loss):
            raise Diverged(f"the training loss of epoch {len(self.epochs)} is not finite")

    def _looking(self, method: str) -> AbstractContextManager[None]:
        """Around a strategy's work and its clock: to see that it only looks is not its cost."""
        return self.view.only_looked_at(self.named, method)

    def _autocast(self) -> AbstractContextManager[Any]:
        if self.spec.precision == "bfloat16":
            return torch.autocast(self.device.type, dtype=torch.bfloat16)
        return nullcontext()

    def _save(self, folder: RunFolder) -> None:
        if self.team.first:
            save_checkpoint(folder.checkpoint, state_of(self))
