"""Freezing stage of a training: ask the strategy, apply its decisions and record them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bench.errors import UserError
from bench.layers.freezing import Freezer
from bench.results.decisions import encode_layers
from bench.strategy_api.output_checks import read_decision_list

if TYPE_CHECKING:
    from bench.strategy_api.strategy import Decision, Strategy
    from bench.strategy_api.view import View
    from bench.training.run_state import RunState


def run_stage(run: RunState) -> None:
    """Call `decide` if it is due after the current step, and apply the decisions.

    Decisions after the last step are only recorded.
    """
    view = run.view
    if not is_stage_due(run.strategy, view):
        return
    run.group.share_buffers()
    # Events on the device replace the synchronisation if there may be a stage at every step.
    often = run.strategy.switches_often
    time_block = run.clocks.time_inside_step if often else run.clocks.time_region
    with run.watch_strategy("decide"), time_block("decide"):
        decisions = ask_strategy(run.strategy, run.strategy_name, view)
    with time_block("decide"):
        decisions = run.group.broadcast_value(decisions)
        if view.step < view.total_steps:
            _apply_to_run(run, decisions)
    with time_block("prepare"):  # recording is not charged to the strategy
        run.decisions += make_decision_lines(run.strategy, view, decisions)


def is_stage_due(strategy: Strategy, view: View) -> bool:
    """Return whether a strategy decides after the current step."""
    return strategy.stages().due(view.step, view.steps_per_epoch)


def ask_strategy(strategy: Strategy, name: str, view: View) -> list[Decision]:
    """Return the checked decisions of a strategy.

    name: name of the strategy, for messages. Raises UserError for a return value that is not valid.
    """
    answer = strategy.decide(view)  # may be a generator
    return read_decision_list(name, answer, len(view.layers), view.layers[-1].name)


def apply_decisions(
    view: View,
    freezer: Freezer,
    frozen_at: dict[int, int],
    decisions: Sequence[Decision],
    label: str,
) -> bool:
    """Freeze and thaw layers as decided, and return whether the set of frozen layers changed.

    Updates `view.frozen` and `frozen_at`.
    frozen_at: number of finished steps when each frozen layer froze, by layer index.
    label: name of the training, for the message.
    Raises UserError if all layers are frozen.
    """
    before = freezer.frozen
    freezer.freeze(d.layer for d in decisions if d.freeze and d.layer not in before)
    freezer.thaw([d.layer for d in decisions if not d.freeze and d.layer in before])
    view.frozen = freezer.frozen
    for layer in view.frozen - before:
        frozen_at[layer] = view.step
    for layer in before - view.frozen:
        del frozen_at[layer]
    if len(view.frozen) == len(view.layers):
        raise UserError(
            f"{label}: every layer is frozen after step {view.step}; a strategy must "
            "leave at least one layer to train"
        )
    return view.frozen != before


def make_decision_lines(
    strategy: Strategy, view: View, decisions: Sequence[Decision]
) -> list[dict[str, Any]]:
    """Return the decisions of a freezing stage as lines of decisions.jsonl.

    Strategies that switch often get the compact format of bench/results/decisions.py.
    """
    if strategy.switches_often:
        return [_make_stage_line(view, decisions)]
    return [_make_decision_line(view, d) for d in decisions]


def _make_decision_line(view: View, decision: Decision) -> dict[str, Any]:
    """Return a decision as plain Python values, with None for numbers that are not finite.

    Strategies may use numpy or torch numbers, which JSON cannot hold.
    """
    score, threshold = float(decision.score), float(decision.threshold)
    return {
        "step": view.step,
        "epoch": view.epoch,
        "layer": int(decision.layer),
        "name": view.layers[decision.layer].name,
        "score": score if math.isfinite(score) else None,
        "threshold": threshold if math.isfinite(threshold) else None,
        "freeze": bool(decision.freeze),
    }


def _make_stage_line(view: View, decisions: Sequence[Decision]) -> dict[str, Any]:
    """Return the decisions of a freezing stage in the compact format of bench/results/decisions.py.

    The line is the same whether `view.frozen` holds the frozen layers before or after the decisions
    were applied.
    """
    freeze = {int(d.layer) for d in decisions if d.freeze}
    thaw = {int(d.layer) for d in decisions if not d.freeze}
    return {"step": view.step, "frozen": encode_layers((view.frozen | freeze) - thaw)}


def _apply_to_run(run: RunState, decisions: Sequence[Decision]) -> None:
    """Apply decisions to a run, and begin a new freeze state if any layer changed."""
    view = run.view
    if not apply_decisions(view, run.freezer, run.frozen_at, decisions, run.spec.label):
        return
    run.group.regroup()
    run.accounting.enter_state(view.step, view.frozen)
    if run.prefix_forward:
        run.prefix_forward.enter(view.step)
    if run.compiled:
        run.compiled.enter()
    run.accounting.forget_peaks()  # exclude memory that was freed just now
