"""Freeze history of a run on the page: a picture of its freeze moments, and its decisions."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any

from reports.document.table import format_fixed, format_significant
from reports.runs.freeze_history import FreezeHistory, FreezeStage, LayerChange

BINS = 120  # parts of the training time that the picture tells apart
LEVELS = 4  # shades of the picture; the darkest is a layer that was frozen throughout a part
NAMED = 6  # layers that a decision names one by one; more are named as ranges
LISTED = 24  # decisions that are listed; strategies that switch often make thousands


@dataclass(frozen=True)
class Decision:
    """Decision that changed at least one layer, as formatted text."""

    step: str
    epoch: str
    text: str


@dataclass(frozen=True)
class RunHistory:
    """Freeze history of a run as the page shows it.

    shades: path of each shade (1 to LEVELS) in a picture of BINS × len(layers) units, in which each
    layer is a line, the first layer at the top. left_out: decisions beyond LISTED.
    """

    id: str
    scope: Mapping[str, str]  # model, data set and method
    seed: int
    layers: int
    epochs: str
    shades: Mapping[int, str]
    summary: str
    decisions: Sequence[Decision]
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
    """Return SVG path data for each shade, from the share of each part that a layer was frozen."""
    paths: dict[int, list[str]] = {}
    for layer, intervals in enumerate(history.list_intervals()):
        place = 0
        for level, length in _list_levels(intervals, history.steps):
            if level:
                paths.setdefault(level, []).append(f"M{place} {layer + 0.5:g}h{length}")
            place += length
    return {level: "".join(path) for level, path in sorted(paths.items())}


def _list_levels(
    intervals: Sequence[tuple[float, float]], steps: float
) -> Iterator[tuple[int, int]]:
    """Yield the shade of a layer and the number of parts that have it, in the order of time.

    intervals: the steps during which the layer was frozen.
    """
    shares = [0.0] * BINS
    for first, end in intervals:
        begin, stop = (BINS * step / steps for step in (first, end))
        low, high = math.floor(begin), min(BINS, math.ceil(stop))
        shares[low + 1 : high - 1] = [1.0] * (high - low - 2)  # a page has thousands of pictures
        for i in {low, high - 1}:
            shares[i] += min(i + 1, stop) - max(i, begin)
    by_level = (
        (math.ceil(LEVELS * share - 1e-9), len(list(equal))) for share, equal in groupby(shares)
    )
    for level, parts in groupby(by_level, key=itemgetter(0)):
        yield level, sum(length for _, length in parts)


def _find_common_threshold(history: FreezeHistory) -> float | None:
    """Return the threshold of all changes; None if it varies or does not exist."""
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
    text = (
        f"{history.decided} freezing {noun}, {len(history.stages)} of them with a change. "
        f"{frozen} of {len(history.names)} layers are frozen at the end."
    )
    scored = any(_has_score(change) for stage in history.stages for change in stage.changes)
    if threshold is not None and scored:
        text += f" Scores are in parentheses; the threshold is {format_significant(threshold)}."
    return text


def _format_stage(stage: FreezeStage, history: FreezeHistory, common: float | None) -> Decision:
    parts = []
    for freezes, word in ((True, "froze"), (False, "thawed")):
        changes = [change for change in stage.changes if change.freezes == freezes]
        if changes:
            parts.append(f"{word} {', '.join(_name_layers(changes, history.names, common))}")
    epoch = format_fixed(stage.step / history.steps_per_epoch)
    return Decision(str(stage.step), epoch, "; ".join(parts))


def _name_layers(
    changes: Sequence[LayerChange], names: Sequence[str], common: float | None
) -> Iterator[str]:
    """Yield layers with their scores, or ranges of layers if there are many."""
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
    """Return whether a score was compared. Schedules record the step of the freeze as both."""
    return math.isfinite(change.score) and change.score != change.threshold
