"""Training loop: execute one run, measure it and record its result."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from bench.distributed.process_group import ALONE, ProcessGroup
from bench.errors import Stopped, UserError
from bench.prefix.prefix_forward import PrefixForward
from bench.results.decisions import FILE as DECISIONS
from bench.results.run_folder import REPEAT, RunFolder
from bench.spec import Spec
from bench.strategy_api.output_checks import check_late_answers, read_cost, read_steps
from bench.training.checkpoint import (
    capture_state,
    load_checkpoint,
    restore,
    save_checkpoint,
)
from bench.training.compiled_step import Compiled
from bench.training.evaluation import evaluate, score_part
from bench.training.freezing_stage import run_stage
from bench.training.gpu_priming import prime_gpu
from bench.training.run_record import (
    make_epoch_line,
    make_result,
    record_environment,
    write_run_record,
)
from bench.training.run_state import RunState
from bench.training.training_step import take_step

CHECKPOINT_SECONDS = 60.0


class Diverged(Exception):
    """Exception raised if an epoch's mean training loss, or a weight after it, is not finite."""


def execute(
    spec: Spec,
    results: Path,
    *,
    stop: Callable[[], bool] = lambda: False,
    progress: Callable[[int, int], None] = lambda step, steps: None,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    group: ProcessGroup = ALONE,
) -> dict[str, Any]:
    """Train, measure and record a run. Resume from its checkpoint if there is one.

    stop: called after every step. If it returns True before the last step, a checkpoint is
        written and Stopped raised.
    progress: called with (finished steps, total steps) after every step.
    checkpoint_seconds: minimum time between two checkpoints.
    group: processes of a run with replicas, each of which calls `execute` (bench/distributed).
    Returns the contents of result.json. Raises UserError for errors that the user can fix.
    """
    record = folder = group.folder(results, spec.id)
    record.create()
    record.clear_leftovers()
    if record.done:  # its weights are missing; its record is kept until the new one is complete
        folder = group.folder(results, f"{spec.id}/{REPEAT}")
        folder.create()
        folder.clear_leftovers()
    run = RunState(spec, results, group)
    try:
        try:
            prepare(run, folder)
            with run.energy.measure():
                train(run, folder, stop, progress, checkpoint_seconds)
            evaluate(run)
            result = make_result(run, "done", "")
        except Diverged as error:
            result = make_result(run, "diverged", str(error))
        if group.first:
            write_run_record(run, folder, result)
            if folder is not record:
                record.take_over(folder)
        return result
    finally:
        run.release()


def prepare(run: RunState, folder: RunFolder) -> None:
    """Prepare a run for its next step.

    Write spec.json and environment.json, and start the strategy. Restore the checkpoint if there is
    one, otherwise run the freezing stage of step 0.
    """
    folder.write_spec(run.spec)
    record_environment(run, folder)
    run.model.train()
    if run.device.type == "cuda":
        batch = run.batches.probe(min(run.spec.batch_size, run.batches.samples))
        prime_gpu(run.model, run.build_optimizer, batch, run.autocast)
        torch.cuda.empty_cache()  # do not count the copy's memory as reserved
    _refuse_costly_switches(run)
    if run.spec.cache_prefix or run.spec.fold_norms:
        run.prefix_forward = PrefixForward(
            run.spec,
            run.model,
            run.layers,
            run.flops,
            run.batches,
            run.device,
            folder.path,
            run.autocast,
        )
    if run.spec.compiled:
        _prepare_compiled_step(run)
    # A checkpoint holds the clocks of the first start, which this one only repeats.
    region = "prepare" if folder.checkpoint.exists() else "decide"
    with run.clocks.time_region(region):
        steps = read_steps(run.strategy_name, run.strategy.total_steps(run.view))
        run.view.total_steps = run.group.broadcast_value(steps)
    with run.watch_strategy("start"), run.clocks.time_region(region):
        run.strategy.start(run.view)
    check_late_answers(run.strategy, run.strategy_name)
    if folder.checkpoint.exists():
        restore(run, load_checkpoint(folder.checkpoint, run.spec.id, run.device), folder)
        run.accounting.forget_peaks()  # exclude the copy read from the checkpoint
        return
    run.accounting.enter_state(0, run.freezer.frozen)
    run_stage(run)


def _refuse_costly_switches(run: RunState) -> None:
    """Raise UserError if the run prepares each freeze state, and its strategy has many of them."""
    spec = run.spec
    costly = [name for name in ("compiled", "cache_prefix", "fold_norms") if getattr(spec, name)]
    if run.strategy.switches_often and costly:
        raise UserError(
            f"{spec.label}: strategy {run.strategy_name} often changes the frozen layers, and "
            f"{costly[0]} would prepare each change anew; set {costly[0]} = false"
        )


def _prepare_compiled_step(run: RunState) -> None:
    spec = run.spec
    if len(run.batches.count_samples_by_size()) > 1:
        raise UserError(
            f"{spec.label}: compiled needs inputs of one size, but the texts differ in length; set "
            "compiled = false"
        )
    full = min(spec.batch_size, run.batches.samples)
    run.compiled = Compiled(spec.label, run.model, run.device, full, spec.threads)


def train(
    run: RunState,
    folder: RunFolder,
    stop: Callable[[], bool],
    progress: Callable[[int, int], None],
    checkpoint_seconds: float,
) -> None:
    """Take the remaining steps. Check the loss and write a line at the end of each epoch."""
    view, saved_at = run.view, time.monotonic()
    with run.clocks.time_region("train"):
        while view.step < view.total_steps:
            take_step(run)
            if run.strategy.observations().due(view.step, view.steps_per_epoch):
                with run.watch_strategy("observe"), run.clocks.time_inside_step("decide"):
                    run.strategy.observe(view)
            if view.step % view.steps_per_epoch == 0 or view.step == view.total_steps:
                _end_epoch(run, folder)
            run_stage(run)
            progress(view.step, view.total_steps)
            stopping = run.group.broadcast_flag(stop())
            if stopping or time.monotonic() - saved_at >= checkpoint_seconds:
                with run.clocks.time_region("prepare"):
                    _save(run, folder)
                saved_at = time.monotonic()
            if stopping and view.step < view.total_steps:
                raise Stopped
    # The last freezing stage ran after `_end_epoch` had written the decisions.
    with run.clocks.time_region("prepare"):
        folder.write_lines(DECISIONS, run.decisions)


def _end_epoch(run: RunState, folder: RunFolder) -> None:
    """Write epochs.jsonl and decisions.jsonl at the end of an epoch.

    Raises Diverged if the mean loss of the epoch or a weight is not finite.
    """
    run.accounting.read_device()
    steps = run.view.step - (run.epochs[-1]["step"] if run.epochs else 0)
    loss = run.loss_sum.item() / steps
    run.loss_sum.zero_()
    line = make_epoch_line(run, loss)
    finite = run.has_finite_weights()
    if run.spec.score_epochs and finite:
        line |= _score_epoch(run)
    run.epochs.append(line)
    with run.clocks.time_region("prepare"):
        folder.write_lines("epochs.jsonl", run.epochs)
        folder.write_lines(DECISIONS, run.decisions)
    if not math.isfinite(loss):
        raise Diverged(f"the training loss of epoch {len(run.epochs)} is not finite")
    if not finite:  # the loss was computed before the last update
        raise Diverged(f"the weights after epoch {len(run.epochs)} are not finite")


def _score_epoch(run: RunState) -> dict[str, Any]:
    """Return the score on the evaluation split or a part of it, and the cost of decisions."""
    score = score_part(run, run.spec.score_samples)
    run.model.train()  # modules of frozen layers stay in eval mode
    run.accounting.forget_peaks()  # the peak of a freeze state is that of training
    return {
        "score": score,
        "decide_flops": read_cost(run.strategy_name, run.strategy.cost()) * run.group.size,
        "decide_s": run.clocks.read()["wall"]["decide"],
    }


def _save(run: RunState, folder: RunFolder) -> None:
    if run.group.first:
        # The checkpoint holds only the number of lines, so the lines must be on disk before it.
        folder.write_lines(DECISIONS, run.decisions)
        save_checkpoint(folder.checkpoint, capture_state(run))
