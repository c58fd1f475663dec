"""Evidence for the criteria: intervals computed from the runs of a table.

An interval covers the seeds of one pair, and is paired by seed if it compares two methods. The
interval of a difference in accuracy also covers the draw of the evaluation samples. The results of
several pairs are kept separate, or their means are pooled with equal weights. Functions raise
MissingRunsError if the runs do not allow an interval.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import pandas as pd

from bench.spec import FULL
from reports import pooling, statistics
from reports.comparison.paired_difference import (
    PairedDifference,
    average_seeds,
    compare_accuracy,
)
from reports.paper_figures import figure5
from reports.runs.cells import Cell, build_cells
from reports.sampling import Pair
from reports.statistics import Interval

# Runs by the name of the table; "freeze_steps" and "epochs" hold the layers and epochs of Figure 5.
Frames = Mapping[str, pd.DataFrame]
Intervals = Mapping[Pair, Interval]
PairDifferences = Mapping[Pair, PairedDifference]


class MissingRunsError(Exception):
    """Raised if the runs do not suffice to judge a claim; the message names the reason."""


def select_cells(frames: Frames, table: str, *methods: str) -> dict[Pair, list[Cell]]:
    """Return the cells of the methods, in this order, for each pair that has all of the methods.

    Raises MissingRunsError if no pair has all methods, or if a run of these cells has no result.
    """
    frame = frames.get(table)
    if frame is None:
        raise MissingRunsError(f"{table} is not part of this report")
    if frame.empty:
        raise MissingRunsError(f"{table}: no runs")
    wanted = frame[frame.method.isin(methods)]
    by_pair: dict[Pair, dict[str, Cell]] = {}
    for cell in build_cells(wanted) if len(wanted) else []:
        by_pair.setdefault(cell.roles[:2], {})[cell.roles[2]] = cell
    whole = {p: [has[m] for m in methods] for p, has in by_pair.items() if len(has) == len(methods)}
    if not whole:
        raise MissingRunsError(f"{table} has no runs of {' and '.join(methods)}")
    found = [cell for has in whole.values() for cell in has]
    done, all_of_them = sum(c.n for c in found), sum(c.wanted for c in found)
    if done < all_of_them:
        raise MissingRunsError(f"{table}: results of only {done} of {all_of_them} runs")
    return whole


def compute_differences(frames: Frames, table: str, ours: str, theirs: str) -> PairDifferences:
    """Return the difference in accuracy, ours − theirs, in points, by pair."""
    return {
        pair: compare_accuracy(a, b)
        for pair, (a, b) in select_cells(frames, table, ours, theirs).items()
    }


def compute_savings(frames: Frames, table: str, ours: str, theirs: str, key: str) -> Intervals:
    """Return the share (0 to 1) of a cost that `ours` saves compared with `theirs`, by pair.

    key: column of the cost. For times, raises MissingRunsError if runs used different devices or
    shared their CPU.
    """
    found = {}
    for pair, (a, b) in select_cells(frames, table, ours, theirs).items():
        if key == "time_s" and len(a.devices | b.devices) > 1:
            raise MissingRunsError(f"{table}: times from different devices are not compared")
        if key == "time_s" and a.slowed + b.slowed:
            raise MissingRunsError(
                f"{table}: times of runs that probably shared their CPU are not compared"
            )
        found[pair] = statistics.compute_paired_saving(a.by_seed(key), b.by_seed(key))
    return found


def compute_decide_share(frames: Frames, table: str, method: str) -> Intervals:
    """Return the share (0 to 1) of training time that a method spends on decisions, by pair.

    On a CPU, the share is that of CPU time, because other processes do not lengthen CPU time. On a
    GPU, it is that of wall time, because CPU time does not cover the work of the GPU.
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
    """Return the mean realised ratio over the pairs, with its interval.

    The realised ratio of a pair is its share of time saved divided by its share of FLOPs saved.
    Raises MissingRunsError if a pair saves less than SMALLEST_SHARE of the FLOPs.
    """
    time = compute_savings(frames, table, method, FULL, "time_s")
    flops = compute_savings(frames, table, method, FULL, "paper_total")
    little = sum(saved.mean < statistics.SMALLEST_SHARE for saved in flops.values())
    if little:
        least = f"{100 * statistics.SMALLEST_SHARE:g} %"
        raise MissingRunsError(
            f"{table}: less than {least} of the FLOPs are saved on {little} of {len(flops)} pairs, "
            "too little for a ratio"
        )
    return pooling.compute_widest_interval(
        {pair: statistics.compute_realised(time[pair].mean, flops[pair].mean) for pair in time}
    )


def pool_intervals(intervals: Intervals) -> Interval:
    """Return an interval for the mean over the pairs, from the mean of each pair.

    It contains the interval over the pairs. With three or more models, it also contains the
    interval over the models.
    """
    return pooling.compute_widest_interval(
        {pair: interval.mean for pair, interval in intervals.items()}
    )


def pool_differences(differences: PairDifferences) -> Interval:
    """Return an interval for the mean difference over the pairs, as `pool_intervals` does.

    The interval also covers the draw of the evaluation samples.
    """
    return pooling.compute_widest_interval(*average_seeds(differences))


def compute_memory_saved(frames: Frames, model: str) -> Interval:
    """Return the share (0 to 1) of full training's memory that SmartFRZ saves in the last epoch."""
    select_cells(_select_model(frames, "figure5", model), "figure5", "smartfrz", FULL)
    lines = _select_model(frames, "epochs", model)["epochs"]
    ours, full = (lines[lines.method == name] for name in ("smartfrz", FULL))
    return statistics.compute_t_interval(list(figure5.compute_memory_saved(ours, full).values()))


def measure_runs(
    frames: Frames, model: str, measure: Callable[[pd.DataFrame], float]
) -> Sequence[float]:
    """Return the value of `measure` for each SmartFRZ run of a model.

    measure: function of a frame with one row per layer (columns layer and frozen_at).
    """
    select_cells(_select_model(frames, "figure5", model), "figure5", "smartfrz")
    freeze_steps = _select_model(frames, "freeze_steps", model)["freeze_steps"]
    ours = freeze_steps[freeze_steps.method == "smartfrz"]
    return [measure(run) for _, run in ours.groupby("seed")]


def _select_model(frames: Frames, name: str, model: str) -> Frames:
    """Return a mapping with one of the frames, reduced to the rows of one model.

    Raises MissingRunsError if the frame does not exist.
    """
    frame = frames.get(name)
    if frame is None:
        raise MissingRunsError(f"{name} is not part of this report")
    return {name: frame[frame.model == model]}
