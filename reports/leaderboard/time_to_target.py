"""Cost and time until a run first reaches the target: full training's accuracy minus the margin.

Runs with `score_epochs` are evaluated after every epoch, so reaching the target is noticed only at
the end of an epoch. These evaluations add nothing to the FLOPs and the time of training. With
`score_samples`, they use a part of the evaluation samples. The target is then computed on the same
part.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.files import read_json_lines
from reports.leaderboard.contestants import Point, compute_costs
from reports.runs.cells import Cell
from reports.runs.run_table import DIVERGED, DONE, Run
from reports.statistics import MARGIN


@dataclass(frozen=True)
class Reached:
    """Number of runs that reached the target, and median cost and time until then.

    runs: number of finished and diverged runs of a method.
    reached: number of these runs that reached the target.
    flops, seconds: median cost and time until then, as shares of full training's total. A run that
    never reaches the target, or diverges, counts as infinitely long. A median is NaN without runs,
    or if half of the runs or more do not reach the target. seconds is also NaN if the times of any
    pair cannot be compared.
    slowed: whether any run of the method or of full training shared its CPU.
    """

    runs: int
    reached: int
    flops: float
    seconds: float
    slowed: bool


def measure_time_to_target(points: Sequence[Point], results: Path) -> Reached:
    """Return how soon the runs of some points reach the target.

    The target of a run is the score of full training with the same seed after the last epoch, minus
    MARGIN points. Runs without scores after every epoch, or without a target, are left out.
    """
    flops, seconds = [], []
    for point in points:
        full = {run["seed"]: run for run in point.full.finished}
        targets = {
            seed: rows[-1]["score"] - MARGIN
            for seed, run in full.items()
            if (rows := read_scores(run, results))
        }
        whole = compute_costs(point.full)
        for run in point.cell.runs:
            target, rows = targets.get(run["seed"]), _read_ended(run, results)
            if target is None or rows is None:
                continue
            row = next((row for row in rows if row["score"] >= target), None)
            if row is None:
                flops.append(math.inf)
                seconds.append(math.inf)
                continue
            flops.append((row["flops_exact"] + row["decide_flops"]) / whole[run["seed"]])
            spent = row["train_s"] + row["decide_s"]
            seconds.append(spent / full[run["seed"]]["time_s"] if _is_timed(point) else math.nan)
    return Reached(
        len(flops),
        sum(math.isfinite(cost) for cost in flops),
        _compute_median(flops),
        _compute_median(seconds),
        any(point.cell.slowed or point.full.slowed for point in points),
    )


def read_scores(run: Run, results: Path) -> list[dict[str, Any]] | None:
    """Return the rows of a run's epochs.jsonl; None if it was not scored after every epoch.

    Raises UserError that names the file if it is damaged or missing.
    """
    path = results / "runs" / run["id"] / "epochs.jsonl"
    rows = read_json_lines(path)
    known = [isinstance(row["score"], int | float) for row in rows if "score" in row]
    return rows if rows and len(known) == len(rows) and all(known) else None


def _read_ended(run: Run, results: Path) -> list[dict[str, Any]] | None:
    """Return `read_scores` of a finished run, [] for a diverged run, and None for all other runs.

    The scores of a diverged run are ignored, so it counts as never reaching the target.
    """
    if run["state"] == DIVERGED:
        return []
    return read_scores(run, results) if run["state"] == DONE else None


def make_full_points(cells: Mapping[tuple[str, ...], Cell]) -> list[Point]:
    """Return points that compare full training with itself.

    cells: cells of full training, by pair.
    """
    return [Point(cell, cell) for cell in cells.values()]


def _is_timed(point: Point) -> bool:
    """Return whether the times of a point's cell and of full training can be compared."""
    return len(point.cell.devices | point.full.devices) < 2


def _compute_median(values: Sequence[float]) -> float:
    """Return the median, or NaN if it is not finite or a value is unknown."""
    if not values or any(math.isnan(value) for value in values):
        return math.nan
    median = float(np.median(values)) if np.isfinite(values).sum() * 2 > len(values) else math.inf
    return median if math.isfinite(median) else math.nan
