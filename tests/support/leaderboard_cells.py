"""Cells of a leaderboard with made-up runs, held in memory. No value here was measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from reports.runs.cells import Cell
from reports.runs.run_table import DONE, MISSING
from reports.runs.sample_scores import SampleScores

SAMPLES = 200
FULL_COST = 1e12


def make_run(roles: tuple[str, ...], seed: int, accuracy: float, cost: float) -> dict[str, Any]:
    """Return a finished run. Runs with different seeds have different evaluation samples.

    accuracy: in percent. cost: FLOPs as a share of those of full training.
    """
    right = np.arange(SAMPLES) < round(accuracy / 100 * SAMPLES)
    sources = (SAMPLES * seed + np.arange(SAMPLES))[:, None]
    return {
        "id": "-".join((*roles, str(seed))),
        "cell": "-".join(roles),
        "seed": seed,
        "state": DONE,
        "accuracy": accuracy,
        "exact_total": (cost - 0.001) * FULL_COST if cost < 1 else FULL_COST,
        "decide_flops": 0.001 * FULL_COST if cost < 1 else 0.0,
        "time_s": 10 * cost,
        "device": "a made-up CPU",
        "resumed": False,
        "slowed": False,
        "samples": lambda: SampleScores(np.where(right, 100.0, 0.0), sources),
    }


def make_cell(
    roles: tuple[str, ...], accuracies: Sequence[float], cost: float, wanted: int = 0
) -> Cell:
    """Return a cell with one run per accuracy. Missing runs fill it up to `wanted` runs in all."""
    runs = [make_run(roles, seed, value, cost) for seed, value in enumerate(accuracies)]
    absent = {"state": MISSING, "cell": "-".join(roles)}
    runs += [{**absent, "seed": seed} for seed in range(len(runs), wanted)]
    return Cell(roles, runs)
