"""What the rules of claims are given: intervals made of a table's runs, or why there are none.

An interval is over the seeds of one pair of model and data, paired by seed; several pairs are
either kept apart or pooled, each pair counting once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import pandas as pd

from reports import statistics
from reports.paper_figures import figure5
from reports.runs.cells import Cell, build_cells
from reports.statistics import Interval

Frames = Mapping[
    str, pd.DataFrame
]  # by table; "moments" and "epochs" hold Figure 5's layers, lines
Pair = tuple[str, ...]  # model, data set
Intervals = Mapping[Pair, Interval]


class MissingRunsError(Exception):
    """A rule's runs are not all there; the message says which."""


def select_cells(frames: Frames, table: str, *methods: str) -> dict[Pair, list[Cell]]:
    """The cells of some methods, by pair, where the table has them all.

    Raises MissingRunsError if it has none of them, or if a wanted run of theirs has no number.
    """
    frame = frames.get(table)
    if frame is None:
        raise MissingRunsError(f"{table} was not asked for")
    if frame.empty:
        raise MissingRunsError(f"{table}: no runs")
    wanted = frame[frame.method.isin(methods)]
    by_pair: dict[Pair, dict[str, Cell]] = {}
    for cell in build_cells(wanted) if len(wanted) else []:
        by_pair.setdefault(cell.roles[:2], {})[cell.roles[2]] = cell
    whole = {p: [has[m] for m in methods] for p, has in by_pair.items() if len(has) == len(methods)}
    if not whole:
        raise MissingRunsError(f"{table} has no {' and '.join(methods)}")
    found = [cell for has in whole.values() for cell in has]
    done, all_of_them = sum(c.n for c in found), sum(c.wanted for c in found)
    if done < all_of_them:
        raise MissingRunsError(f"{table}: {done} of {all_of_them} runs")
    return whole


def compute_differences(frames: Frames, table: str, ours: str, theirs: str) -> Intervals:
    """Accuracy of one method less another's, points."""
    return {
        pair: statistics.compute_t_interval(
            statistics.pair_differences(a.by_seed("accuracy"), b.by_seed("accuracy"))
        )
        for pair, (a, b) in select_cells(frames, table, ours, theirs).items()
    }


def compute_savings(frames: Frames, table: str, ours: str, theirs: str, key: str) -> Intervals:
    """The share of a cost that one method saves against another. Raises MissingRunsError for times
    that do not compare: of different devices, or of runs that others slowed.
    """
    found = {}
    for pair, (a, b) in select_cells(frames, table, ours, theirs).items():
        if key == "time_s" and len(a.devices | b.devices) > 1:
            raise MissingRunsError(f"{table}: times from several devices")
        if key == "time_s" and a.slowed + b.slowed:
            raise MissingRunsError(f"{table}: times of runs that shared their CPU")
        found[pair] = statistics.compute_paired_saving(a.by_seed(key), b.by_seed(key))
    return found


def compute_decide_share(frames: Frames, table: str, method: str) -> Intervals:
    """The share of its training time that a method spends on deciding: of the CPU's, which nothing
    else on the machine lengthens, or of the wall's for runs on a GPU, for which the CPU waits.
    """

    def share(run: Mapping[str, float]) -> float:
        if math.isnan(run["cuda_allocated"]):
            return run["cpu_decide_s"] / run["cpu_s"]
        return run["decide_s"] / run["time_s"]

    return {
        pair: statistics.compute_t_interval([share(run) for run in cell.finished])
        for pair, (cell,) in select_cells(frames, table, method).items()
    }


def compute_realised(frames: Frames, table: str, method: str) -> Interval:
    """Return the share of time saved over the share of FLOPs saved, over the pairs.

    Raises MissingRunsError where a pair saves too few FLOPs for a ratio.
    """
    time = compute_savings(frames, table, method, "full", "time_s")
    flops = compute_savings(frames, table, method, "full", "paper_total")
    little = sum(one.mean < statistics.SMALLEST_SHARE for one in flops.values())
    if little:
        least = f"{100 * statistics.SMALLEST_SHARE:g} %"
        raise MissingRunsError(
            f"{table}: {little} of {len(flops)} pairs save under {least} of FLOPs"
        )
    return statistics.compute_t_interval(
        [statistics.compute_realised(time[pair].mean, flops[pair].mean) for pair in time]
    )


def pool_intervals(intervals: Intervals) -> Interval:
    """Over the pairs, each counting once by its mean."""
    return statistics.compute_t_interval([interval.mean for interval in intervals.values()])


def compute_memory_saved(frames: Frames, model: str) -> Interval:
    """The share of full training's memory that SmartFRZ's last epoch saves, over the seeds."""
    select_cells(_select_model(frames, "figure5", model), "figure5", "smartfrz", "full")
    lines = _select_model(frames, "epochs", model)["epochs"]
    ours, full = (lines[lines.method == name] for name in ("smartfrz", "full"))
    return statistics.compute_t_interval(list(figure5.compute_memory_saved(ours, full).values()))


def measure_runs(
    frames: Frames, model: str, measure: Callable[[pd.DataFrame], float]
) -> Sequence[float]:
    """A number made of the layers of each SmartFRZ run of a model: layer and frozen_at."""
    select_cells(_select_model(frames, "figure5", model), "figure5", "smartfrz")
    moments = _select_model(frames, "moments", model)["moments"]
    ours = moments[moments.method == "smartfrz"]
    return [measure(run) for _, run in ours.groupby("seed")]


def _select_model(frames: Frames, name: str, model: str) -> Frames:
    """One frame, cut to one model."""
    frame = frames.get(name)
    if frame is None:
        raise MissingRunsError(f"{name} was not asked for")
    return {name: frame[frame.model == model]}
