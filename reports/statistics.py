"""Statistics for five seeds: intervals, paired differences, non-inferiority, Holm's correction.

Accuracies and differences are in percentage points. Tests and intervals are two-sided at 95 %
unless stated otherwise. We use Student's t throughout, because the alternatives fail for five
values: a nominal 95 % bootstrap interval covers 84 %, and Wilcoxon's test never gives p < 0.0625.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
from scipy.special import nctdtrinc, stdtr, stdtrit  # importing scipy.stats takes a second

LEVEL = 0.95
MARGIN = 0.5  # non-inferiority margin in points, fixed before any result was seen
SMALLEST_SHARE = 0.05  # below this share of FLOPs saved the realised ratio is mostly noise
LEAST = 3  # minimum number of values for a verdict or p; two may be equal by chance
POWER = 0.8  # probability of finding a difference that is as large as the detectable one
OPEN: Literal["worse, margin open"] = "worse, margin open"

Verdict = Literal["non-inferior", "inferior", "worse, margin open", "inconclusive"]
Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Interval:
    """Mean of n values with its t interval.

    low and high are NaN if n < 2. The mean is NaN too if n = 0.
    """

    mean: float
    low: float
    high: float
    n: int

    @property
    def known(self) -> bool:
        """Whether there are enough values for an interval (n ≥ 2)."""
        return self.n >= 2


NOTHING = Interval(math.nan, math.nan, math.nan, 0)


def compute_mean(values: Sequence[float]) -> float:
    """Return the mean, or NaN if there are no values."""
    return float(np.mean(values)) if len(values) else math.nan


def compute_sample_sd(values: Sequence[float]) -> float:
    """Return the sample standard deviation (ddof = 1), or NaN for fewer than two values."""
    return float(np.std(values, ddof=1)) if len(values) >= 2 else math.nan


def compute_t_interval(values: Sequence[float], level: float = LEVEL) -> Interval:
    """Return the mean and its two-sided t interval with n - 1 degrees of freedom."""
    n = len(values)
    if n < 2:
        return Interval(compute_mean(values), math.nan, math.nan, n)
    half = float(stdtrit(n - 1, 0.5 + level / 2)) * compute_sample_sd(values) / math.sqrt(n)
    centre = compute_mean(values)
    return Interval(centre, centre - half, centre + half, n)


def average_by_model(values: Mapping[tuple[str, ...], float]) -> list[float]:
    """Return the mean value of each model over its data sets. Keys: (model, data set).

    Pairs of model and data are crossed, so an effect that varies by model is shared by all pairs of
    a model. With the data sets taken as fixed, the means of the models are independent, and their
    t interval has the nominal coverage. The interval over the pairs is then too narrow.
    """
    models = dict.fromkeys(key[0] for key in values)
    return [compute_mean([v for key, v in values.items() if key[0] == model]) for model in models]


def compute_widest_interval(values: Mapping[tuple[str, ...], float]) -> Interval:
    """Return the interval over the pairs, widened to contain that over the models.

    values: one value per (model, data set). With fewer than LEAST models, the interval is that over
    the pairs and holds for these models only. Claims over all pairs rest on this interval.
    """
    pairs = compute_t_interval(list(values.values()))
    models = compute_t_interval(average_by_model(values))
    if models.n < LEAST:
        return pairs
    return Interval(pairs.mean, min(pairs.low, models.low), max(pairs.high, models.high), models.n)


def compute_largest_p(
    test: Callable[[Sequence[float]], float], values: Mapping[tuple[str, ...], float]
) -> float:
    """Return the larger p value of a test over the pairs and of the test over the models.

    values: one value per (model, data set). NaN if the pairs cannot be tested.
    """
    pairs, models = test(list(values.values())), test(average_by_model(values))
    return max(pairs, models) if not math.isnan(models) else pairs


def compute_detectable_difference(interval: Interval, level: float = LEVEL) -> float:
    """Return the smallest true mean that a two-sided t test finds with probability POWER.

    interval: t interval whose width gives the standard error. NaN for fewer than LEAST values.
    """
    if interval.n < LEAST:
        return math.nan
    critical = float(stdtrit(interval.n - 1, 0.5 + level / 2))
    error = (interval.high - interval.low) / 2 / critical
    return float(nctdtrinc(interval.n - 1, 1 - POWER, critical)) * error


def pair_differences(ours: Mapping[int, float], theirs: Mapping[int, float]) -> list[float]:
    """Return ours - theirs for every seed that both have, in the order of the seeds."""
    return [ours[seed] - theirs[seed] for seed in sorted(ours.keys() & theirs.keys())]


def compute_paired_saving(ours: Mapping[int, float], theirs: Mapping[int, float]) -> Interval:
    """Return the share of a positive cost that `ours` saves relative to `theirs`, paired by seed.

    The share is 1 - exp(mean log(ours / theirs)). Ratios are used because a slow machine affects
    both costs by the same factor.
    """
    seeds = sorted(s for s in ours.keys() & theirs.keys() if ours[s] > 0 and theirs[s] > 0)
    logs = compute_t_interval([math.log(ours[s] / theirs[s]) for s in seeds])
    low, high = -math.expm1(logs.high), -math.expm1(logs.low)
    return Interval(-math.expm1(logs.mean), low, high, logs.n)


def judge_difference(difference: Interval, margin: float = MARGIN) -> Verdict:
    """Return the verdict on a difference (method - full training, points) by its interval.

    "worse, margin open": the interval is below 0 and contains -margin. The method loses accuracy,
    and the data do not show whether it loses more than the margin.
    """
    if difference.n < LEAST:
        return "inconclusive"
    if difference.low > -margin:
        return "non-inferior"
    if difference.high < -margin:
        return "inferior"
    return OPEN if difference.high < 0 else "inconclusive"


def compute_p_no_worse(differences: Sequence[float], margin: float = MARGIN) -> float:
    """Return the one-sided p of H0 "the mean difference is -margin or worse".

    p is below 0.025 exactly if the verdict is "non-inferior". NaN for fewer than LEAST values.
    """
    shifted = [value + margin for value in differences]
    return float(stdtr(len(shifted) - 1, -_compute_t_statistic(shifted)))


def compute_p_different(differences: Sequence[float]) -> float:
    """Return the two-sided p of H0 "the mean difference is zero".

    NaN for fewer than LEAST values.
    """
    return float(2 * stdtr(len(differences) - 1, -abs(_compute_t_statistic(differences))))


def _compute_t_statistic(values: Sequence[float]) -> float:
    """Return Student's t of the mean against zero, or NaN for fewer than LEAST values."""
    if len(values) < LEAST:
        return math.nan
    centre, error = compute_mean(values), compute_sample_sd(values) / math.sqrt(len(values))
    if error == 0:  # all values are equal: t is infinite, or 0 if they are zero
        return math.copysign(math.inf, centre) if centre else 0.0
    return centre / error


def apply_holm(raw: Mapping[Key, float]) -> dict[Key, float]:
    """Return a family of p values adjusted by Holm's step-down correction.

    NaN means that no test was made. It stays NaN and does not count as a member of the family.
    """
    tested = sorted((k for k, p in raw.items() if not math.isnan(p)), key=lambda k: raw[k])
    adjusted = dict.fromkeys(raw, math.nan)
    largest = 0.0
    for rank, key in enumerate(tested):
        largest = max(largest, min(1.0, (len(tested) - rank) * raw[key]))
        adjusted[key] = largest
    return adjusted


def compute_realised(time_saved: float, flops_saved: float) -> float:
    """Return the ratio of the share of time saved to the share of FLOPs saved.

    NaN if less than SMALLEST_SHARE of the FLOPs is saved.
    """
    return time_saved / flops_saved if flops_saved >= SMALLEST_SHARE else math.nan
