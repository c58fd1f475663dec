"""Freezing stage of a run: call the strategy, apply its decisions and record them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bench.errors import UserError
from bench.strategy_api.output_checks import check_verdicts
from bench.training.run_record import make_decision_line, make_stage_line
from bench.training.run_state import RunState

if TYPE_CHECKING:
    from bench.strategy_api.strategy import Verdict


def run_stage(run: RunState) -> None:
    """Call `decide` if it is due after the current step, and apply the decisions.

    Decisions after the last step are only recorded.
    """
    view = run.view
    if not run.strategy.stages().due(view.step, view.steps_per_epoch):
        return
    run.group.share_buffers()
    # Events on the device replace the synchronisation if there may be a stage at every step.
    often = run.strategy.switches_often
    time_block = run.clocks.time_inside_step if often else run.clocks.time_region
    with run.watch_strategy("decide"), time_block("decide"):
        answer = run.strategy.decide(view)  # may be a generator
        verdicts = check_verdicts(run.named, answer, len(run.layers), run.layers[-1].name)
    with time_block("decide"):
        verdicts = run.group.broadcast_value(verdicts)
        if view.step < view.total_steps:
            _apply_verdicts(run, verdicts)
    with time_block("prepare"):  # recording is not charged to the strategy
        if often:
            run.decisions.append(make_stage_line(view, verdicts))
        else:
            run.decisions += [make_decision_line(view, v) for v in verdicts]


def _apply_verdicts(run: RunState, verdicts: Sequence[Verdict]) -> None:
    """Freeze and unfreeze layers as decided, and begin a new freeze state if any layer changed.

    Raises UserError if all layers are frozen.
    """
    view, before = run.view, run.freezer.frozen
    run.freezer.freeze(v.layer for v in verdicts if v.freeze and v.layer not in before)
    run.freezer.thaw([v.layer for v in verdicts if not v.freeze and v.layer in before])
    view.frozen = run.freezer.frozen
    for layer in view.frozen - before:
        run.frozen_at[layer] = view.step
    for layer in before - view.frozen:
        del run.frozen_at[layer]
    if view.frozen != before:
        run.group.regroup()
        run.accounting.enter_state(view.step, view.frozen)
        if run.shortcut:
            run.shortcut.enter(view.step)
        if run.compiled:
            run.compiled.enter()
        run.accounting.forget_peaks()  # exclude memory that was freed just now
    if len(view.frozen) == len(run.layers):
        raise UserError(
            f"{run.spec.label}: every layer is frozen after step {view.step}; a strategy must "
            "leave at least one layer to train"
        )
