"""Intervals and p values over the pairs of model and data set.

The data sets are taken as fixed. Pairs are not independent of each other: the pairs of one model
share its effect, and the pairs of one data set share its evaluation samples. The draw of these
samples therefore counts once per data set, for any number of models.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from reports.sampling import DrawVariance, Pair, Residuals, compute_pooled_variances
from reports.statistics import LEAST, Interval, compute_mean, compute_t_interval

ComputeP = Callable[[Sequence[float], Sequence[DrawVariance]], float]  # returns a p value
NO_RESIDUALS: Mapping[Pair, Residuals] = {}  # for values that no evaluation sample affects


def average_by_model(values: Mapping[Pair, float]) -> list[float]:
    """Return the mean value of each model over its data sets. Keys: (model, data set).

    All pairs of a model share an effect that varies by model, so the interval over the pairs is too
    narrow. If the data sets are taken as fixed, the means of the models are independent, apart from
    the evaluation samples that they share.
    """
    return [compute_mean([values[pair] for pair in group]) for group in _group_by_model(values)]


def _group_by_model(pairs: Iterable[Pair]) -> list[list[Pair]]:
    groups: dict[str, list[Pair]] = {}
    for pair in pairs:
        groups.setdefault(pair[0], []).append(pair)
    return list(groups.values())


def compute_pair_and_model_intervals(
    values: Mapping[Pair, float], residuals: Mapping[Pair, Residuals] = NO_RESIDUALS
) -> tuple[Interval, Interval]:
    """Return two intervals of the mean: over the pairs, and over the means of the models.

    residuals: residuals of the evaluation samples of each pair, needed only if the values are
    accuracy differences.
    """
    pairs, models = _compute_draws(values, residuals)
    return (
        compute_t_interval(list(values.values()), draws=pairs),
        compute_t_interval(average_by_model(values), draws=models),
    )


def _compute_draws(
    values: Mapping[Pair, float], residuals: Mapping[Pair, Residuals]
) -> tuple[list[DrawVariance], list[DrawVariance]]:
    """Return the variances from the draw of evaluation samples, for the pairs and the models."""
    if not residuals:
        return [], []
    known = {pair: residuals[pair] for pair in values}
    by_pair = compute_pooled_variances(known, [[pair] for pair in known])
    return by_pair, compute_pooled_variances(known, _group_by_model(known))


def compute_draw_error(values: Mapping[Pair, float], residuals: Mapping[Pair, Residuals]) -> float:
    """Return the standard error of the mean over the pairs, from the test draw alone.

    The result is NaN without residuals.
    """
    by_pair, _ = _compute_draws(values, residuals)
    if not by_pair:
        return math.nan
    return float(np.sqrt(np.maximum(0.0, [draw.total for draw in by_pair]).sum()))


def compute_widest_interval(
    values: Mapping[Pair, float], residuals: Mapping[Pair, Residuals] = NO_RESIDUALS
) -> Interval:
    """Return the smallest interval that contains those over the pairs and over the models.

    Claims over all pairs are based on this interval. With fewer than LEAST models, it is the
    interval over the pairs and holds for these models only.
    values: one value per (model, data set).
    residuals: as for `compute_pair_and_model_intervals`.
    """
    pairs, models = compute_pair_and_model_intervals(values, residuals)
    if models.n < LEAST:
        return pairs
    wider = max(pairs, models, key=lambda interval: interval.high - interval.low)
    low, high = np.minimum(pairs.low, models.low), np.maximum(pairs.high, models.high)
    return Interval(pairs.mean, float(low), float(high), models.n, wider.df)


def compute_largest_p(
    test: ComputeP,
    values: Mapping[Pair, float],
    residuals: Mapping[Pair, Residuals] = NO_RESIDUALS,
) -> float:
    """Return the larger of two p values: of a test over the pairs, and of a test over the models.

    If the models cannot be tested, the result is the p value over the pairs. It is NaN if the pairs
    cannot be tested.
    values: one value per (model, data set).
    residuals: as for `compute_widest_interval`.
    """
    by_pair, by_model = _compute_draws(values, residuals)
    pairs = test(list(values.values()), by_pair)
    models = test(average_by_model(values), by_model)
    return max(pairs, models) if not math.isnan(models) else pairs
