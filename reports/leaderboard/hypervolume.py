"""Hypervolume of the savings and losses of a method, and its uncertainty over the models.

A rectangle covers the savings from 0 to MOST_SAVED and the losses from 0 to MOST_LOST. The
hypervolume of a method is the share of this rectangle that the method's points cover. A point
covers all results that save no more and lose no less. Zitzler and Thiele (1998) introduced the
hypervolume to compare sets of points with several objectives. For the uncertainty, the models are
resampled, each with all of its data sets. The data sets are taken as fixed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from itertools import product

import numpy as np
from numpy.typing import NDArray

from reports.pooling import average_by_model
from reports.sampling import Pair
from reports.statistics import LEAST, LEVEL, Interval, compute_t_interval

MOST_SAVED = 0.6  # share of full training's FLOPs
MOST_LOST = 5.0  # points of accuracy
MOST_ENUMERATED = 5  # up to so many models, all resamples are listed; of more, DRAWS
DRAWS = 4000


def compute_hypervolume(points: Iterable[tuple[float, float]]) -> float:
    """Return the hypervolume of points (share saved, points lost), from 0 to 1.

    A gain in accuracy counts as no loss. A saving above MOST_SAVED counts as MOST_SAVED. A point
    covers the rectangle between itself and the worst corner (no saving, MOST_LOST lost). Points
    that cost more than full training, or lose more than MOST_LOST, cover nothing.
    """
    area, best = 0.0, MOST_LOST
    clipped = [(min(saved, MOST_SAVED), max(lost, 0.0)) for saved, lost in points]
    # From the largest saving on, each smaller loss adds a step below it.
    for saved, lost in sorted(clipped, key=lambda point: (-point[0], point[1])):
        if saved > 0 and lost < best:
            area += saved * (best - lost)
            best = lost
    return area / (MOST_SAVED * MOST_LOST)


def compute_mean_interval(values: Mapping[Pair, float]) -> Interval:
    """Return the mean hypervolume over the models, with a 95 % interval.

    The value of a model is the mean over its pairs. The interval contains two intervals. One spans
    the central share LEVEL of the means of all resamples of the models. The other is the t interval
    over the models. With four models, the first interval alone contains the true mean in fewer than
    88 % of the cases. The ends are limited to the range from 0 to 1. They are NaN with fewer than
    LEAST models.
    """
    models = average_by_model(values)
    student = compute_t_interval(models)
    if len(models) < LEAST:
        return Interval(student.mean, float("nan"), float("nan"), len(models))
    means = np.array(models)[list_resamples(len(models))].mean(axis=1)
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    ends = (
        float(np.clip(min(low, student.low), 0, 1)),
        float(np.clip(max(high, student.high), 0, 1)),
    )
    return Interval(student.mean, *ends, len(models))


def compute_ranks(values: Mapping[str, Mapping[Pair, float]]) -> dict[str, float]:
    """Return the rank of each method by its mean hypervolume over the models.

    values: hypervolume by method and pair. Rank 1 has the largest mean. Methods with equal means
    share the mean of their ranks.
    """
    means = np.array([[np.mean(average_by_model(values[name]))] for name in values])
    return {name: float(rank) for name, (rank,) in zip(values, _rank_methods(means), strict=True)}


def compute_rank_ranges(
    values: Mapping[str, Mapping[Pair, float]],
) -> dict[str, tuple[float, float]]:
    """Return the central range of each method's rank over all resamples of the models.

    The range holds the share LEVEL of the resamples.
    values: hypervolume by method and pair. All methods have the same pairs. Ranks are as in
    `compute_ranks`. The ends are NaN with fewer than LEAST models.
    """
    models = np.array([average_by_model(values[name]) for name in values])  # (methods, models)
    if not len(models) or models.shape[1] < LEAST:
        return dict.fromkeys(values, (float("nan"), float("nan")))
    drawn = models[:, list_resamples(models.shape[1])].mean(axis=2)  # (methods, resamples)
    tail = (1 - LEVEL) / 2
    ends = np.quantile(_rank_methods(drawn), [tail, 1 - tail], axis=1).T
    return {name: (float(low), float(high)) for name, (low, high) in zip(values, ends, strict=True)}


def _rank_methods(means: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the ranks of the methods in each column of `means` (methods, columns)."""
    larger = (means[None] > means[:, None]).sum(axis=1)
    equal = (means[None] == means[:, None]).sum(axis=1)
    return np.asarray(larger + (equal + 1) / 2, dtype=np.float64)


@cache
def list_resamples(models: int) -> NDArray[np.int64]:
    """Return the indices of the models in each resample, (resamples, models).

    Up to MOST_ENUMERATED models, all resamples are listed. With more models, DRAWS resamples are
    drawn with a fixed seed.
    """
    if models <= MOST_ENUMERATED:
        return np.array(list(product(range(models), repeat=models)), dtype=np.int64)
    return np.random.default_rng(0).integers(0, models, (DRAWS, models))


def order_by_mean(values: Mapping[str, Mapping[Pair, float]]) -> Sequence[str]:
    """Return the names of the methods by decreasing mean hypervolume; unknown means come last."""
    means = {name: float(np.mean(average_by_model(values[name]))) for name in values}
    return sorted(values, key=lambda name: (math.isnan(means[name]), -means[name]))
