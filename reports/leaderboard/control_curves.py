"""Comparison of a method with the accuracy of a control at the method's own cost.

A control is run at several costs. Between two of these costs, its accuracy is interpolated
linearly. The interpolated accuracy is attainable on average. It is the mean accuracy of a procedure
that draws one of the two settings at random, with suitable probabilities. The mean cost of this
procedure is the given cost. Full training is the setting of the control that saves nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from bench.errors import UserError
from reports.comparison.paired_difference import PairedDifference
from reports.leaderboard.contestants import Point
from reports.runs.run_table import Run
from reports.runs.sample_scores import SampleScores
from reports.sampling import compute_residuals

Weights = tuple[tuple[int, float], ...]  # places in a curve, with weights that sum to 1
NO_DIFFERENCE = PairedDifference({}, None)


def find_weights(costs: Sequence[float], cost: float) -> Weights | None:
    """Return weights of a control's settings with which their mean cost is the cost of a method.

    costs: cost of each setting, in any order.
    cost: cost of the method.
    A method that costs more than the most expensive setting is compared with that setting, which is
    then cheaper. The result is None if the method costs less than the cheapest setting.
    """
    order = sorted(range(len(costs)), key=lambda i: costs[i])
    above = next((place for place, i in enumerate(order) if costs[i] >= cost), None)
    if above is None:
        return ((order[-1], 1.0),)
    if above == 0:
        return ((order[0], 1.0),) if costs[order[0]] == cost else None
    low, high = order[above - 1], order[above]
    share = (cost - costs[low]) / (costs[high] - costs[low])
    return tuple((i, w) for i, w in ((low, 1 - share), (high, share)) if w > 0)


def is_comparable(point: Point, control: Sequence[Point]) -> bool:
    """Return whether all runs that a comparison with a control needs have results.

    The comparison needs the runs of the method. For the same seeds, it needs full training and
    every setting of the control. If one of these runs is missing, seeds would be compared with
    different curves.
    control: points of the control on the same pair, one per planned setting.
    """
    seeds = point.costs.keys()
    return (
        point.paired and bool(control) and all(seeds <= setting.costs.keys() for setting in control)
    )


def compare_with_curve(point: Point, control: Sequence[Point]) -> PairedDifference:
    """Return the accuracy of a method minus that of a control at the same cost, in points.

    The comparison is paired by seed and test sample, and uses each seed's own cost.
    control: points of the control on the same pair.
    Return NO_DIFFERENCE unless `is_comparable` is true. Also return NO_DIFFERENCE if the method
    costs less than the cheapest setting for some seed, because a mean over the other seeds would be
    biased. Raises UserError if two runs of a seed were evaluated on different samples.
    """
    if not is_comparable(point, control):
        return NO_DIFFERENCE
    by_seed: dict[int, float] = {}
    samples: dict[Hashable, NDArray[np.float64]] = {}
    sources: dict[Hashable, NDArray[np.int64]] = {}
    runs = {run["seed"]: run for run in point.cell.finished}
    for seed, cost in sorted(point.costs.items()):
        curve = _collect_curve(point, control, seed)
        weights = find_weights([costs for costs, _ in curve], cost)
        if weights is None:
            return NO_DIFFERENCE
        rivals = [(curve[place][1], weight) for place, weight in weights]
        own = runs[seed]
        by_seed[seed] = own["accuracy"] - sum(w * rival["accuracy"] for rival, w in rivals)
        samples[seed], sources[seed] = _subtract_samples(own, rivals)
    return PairedDifference(by_seed, compute_residuals(samples, sources))


def _collect_curve(point: Point, control: Sequence[Point], seed: int) -> list[tuple[float, Run]]:
    """Return cost and run of each setting of a control, for one seed; full training is one too."""
    full = next(run for run in point.full.finished if run["seed"] == seed)
    curve: list[tuple[float, Run]] = [(1.0, full)]
    for setting in control:
        run = next(run for run in setting.cell.finished if run["seed"] == seed)
        curve.append((setting.costs[seed], run))
    return curve


def _subtract_samples(
    own: Run, rivals: Sequence[tuple[Run, float]]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return a run's contributions minus those of the control, by sample, and the sources.

    rivals: runs of the control with their weights. The contributions are in points.
    """
    read = _read_samples(own["samples"])
    rest = read.contributions.copy()
    for rival, weight in rivals:
        theirs = _read_samples(rival["samples"])
        if not np.array_equal(read.sources, theirs.sources):
            raise UserError(
                f"runs {own['id']} and {rival['id']} were evaluated on different samples, so they "
                "cannot be compared; give both the same data and evaluate_on"
            )
        rest -= weight * theirs.contributions
    return rest, read.sources


@lru_cache(maxsize=1024)  # every method is compared with the same runs of the controls
def _read_samples(read: Callable[[], SampleScores]) -> SampleScores:
    return read()
