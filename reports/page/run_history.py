"""Freeze history of a run on the page: a picture of the frozen layers, and a list of decisions."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from reports.document.table import format_fixed, format_significant
from reports.runs.freeze_history import FreezeHistory, FreezeStage, LayerChange

BINS = 120  # parts of the training time that the picture tells apart
LEVELS = 4  # shades of the picture; the darkest is a layer that was frozen throughout a part
EXACT = 4  # intervals of a layer that the picture shows exactly
NAMED = 6  # layers that a decision names one by one; more are named as ranges
LISTED = 24  # decisions that are listed; strategies that switch often make thousands


@dataclass(frozen=True)
class DecisionLine:
    """Decision that changed at least one layer, as formatted text."""

    step: str
    epoch: str
    text: str


@dataclass(frozen=True)
class RunHistory:
    """Freeze history of a run as the page shows it.

    shades: SVG path of each shade (1 to LEVELS) in a picture of BINS × `layers` units. Each layer
    is a horizontal line, with the first layer at the top. left_out: number of decisions beyond
    LISTED.
    """

    id: str
    scope: Mapping[str, str]  # model, data set and method
    seed: int
    layers: int
    epochs: str
    shades: Mapping[int, str]
    summary: str
    decisions: Sequence[DecisionLine]
    left_out: int


def build_run_history(run: Mapping[Any, Any], scope: Mapping[str, str]) -> RunHistory | None:
    """Return the history of a run of a frame; None if the run is not finished.

    scope: model, data set and method of the run.
    """
    if run.get("history") is None:
        return None
    history: FreezeHistory = run["history"]()
    common = _find_common_threshold(history)
    return RunHistory(
        run["id"],
        scope,
        run["seed"],
        len(history.names),
        format_fixed(history.steps / history.steps_per_epoch, 1).removesuffix(".0"),
        draw_shades(history),
        _summarise(history, common),
        [_format_stage(stage, history, common) for stage in history.stages[:LISTED]],
        max(0, len(history.stages) - LISTED),
    )


def draw_shades(history: FreezeHistory) -> dict[int, str]:
    """Return SVG path data for each shade.

    A layer that was frozen in more than EXACT intervals is divided into BINS parts. The shade of a
    part shows the share of the part during which the layer was frozen.
    """
    paths: dict[int, list[str]] = {}
    for layer, intervals in enumerate(history.list_intervals()):
        scaled = [(BINS * first / history.steps, BINS * end / history.steps)
                  for first, end in intervals]  # fmt: skip
        lines = [(begin, end - begin, LEVELS) for begin, end in scaled]
        for begin, length, level in lines if len(lines) <= EXACT else _shade_parts(scaled):
            line = f"M{begin:.4g} {layer}.5h{length:.4g}"
            paths.setdefault(level, []).append(line)
    return {level: "".join(path) for level, path in sorted(paths.items())}


def _shade_parts(intervals: Sequence[tuple[float, float]]) -> Iterator[tuple[float, float, int]]:
    """Yield begin, length and shade of each line of a layer that was frozen in many intervals."""
    shares = [0.0] * BINS
    for begin, end in intervals:
        for i in range(math.floor(begin), min(BINS, math.ceil(end))):
            shares[i] += min(i + 1, end) - max(i, begin)
    place = 0
    for level, equal in groupby(math.ceil(LEVELS * share - 1e-9) for share in shares):
        length = len(list(equal))
        if level:
            yield place, length, level
        place += length


def _find_common_threshold(history: FreezeHistory) -> float | None:
    """Return the threshold that all changes share; None if it varies or does not exist."""
    found = {change.threshold for stage in history.stages for change in stage.changes}
    value = found.pop() if len(found) == 1 else math.nan
    return value if math.isfinite(value) else None


def _summarise(history: FreezeHistory, threshold: float | None) -> str:
    if not history.known:
        return "The run folder has no decisions.jsonl, so its decisions are unknown."
    if not history.decided:
        return "This run made no freezing decision."
    frozen = sum(bool(i) and i[-1][1] == history.steps for i in history.list_intervals())
    noun = "stage" if history.decided == 1 else "stages"
    verb = "is" if frozen == 1 else "are"
    text = (
        f"{history.decided} freezing {noun}, {len(history.stages)} with a change. "
        f"{frozen} of {len(history.names)} layers {verb} frozen at the end."
    )
    scored = any(_has_score(change) for stage in history.stages for change in stage.changes)
    if threshold is not None and scored:
        text += f" Scores are in parentheses; the threshold is {format_significant(threshold)}."
    return text


def _format_stage(stage: FreezeStage, history: FreezeHistory, common: float | None) -> DecisionLine:
    parts = []
    for freezes, word in ((True, "froze"), (False, "thawed")):
        changes = [change for change in stage.changes if change.freezes == freezes]
        if changes:
            parts.append(f"{word} {', '.join(_name_layers(changes, history.names, common))}")
    epoch = format_fixed(stage.step / history.steps_per_epoch)
    return DecisionLine(str(stage.step), epoch, "; ".join(parts))


def _name_layers(
    changes: Sequence[LayerChange], names: Sequence[str], common: float | None
) -> Iterator[str]:
    """Yield the layers of some changes with their scores, or ranges of layers if there are many."""
    if len(changes) <= NAMED:
        for change in changes:
            yield names[change.layer] + _format_score(change, common)
        return
    layers = sorted(change.layer for change in changes)
    for _, group in groupby(enumerate(layers), lambda pair: pair[1] - pair[0]):
        here = [layer for _, layer in group]
        if len(here) == 1:
            yield names[here[0]]
        else:
            yield f"{names[here[0]]} to {names[here[-1]]} ({len(here)} layers)"


def _format_score(change: LayerChange, common: float | None) -> str:
    if not _has_score(change):
        return ""
    threshold = f"; threshold {format_significant(change.threshold)}" if common is None else ""
    return f" ({format_significant(change.score)}{threshold})"


def _has_score(change: LayerChange) -> bool:
    """Return whether the strategy compared a score for this change.

    Schedules compare none. They record the step of the freeze as both score and threshold.
    """
    return math.isfinite(change.score) and change.score != change.threshold
