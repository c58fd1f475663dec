"""What five seeds can tell: intervals, paired differences, non-inferiority, Holm's correction.

Accuracies and differences are in points (percent). Everything is two-sided at 95 % unless its
name says otherwise. A bootstrap over five values covers 84 % where it says 95, and Wilcoxon over
five pairs cannot go below p = 0.0625, so Student's t is used throughout.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
from scipy.special import stdtr, stdtrit  # Student's t; scipy.stats takes a second to import

LEVEL = 0.95
MARGIN = 0.5  # points of accuracy, fixed before any result was seen
SMALLEST_SHARE = 0.05  # a ratio to fewer FLOPs saved than that is mostly noise
LEAST = 3  # values that a verdict or a p needs: two that are alike by chance would make it certain

Verdict = Literal["non-inferior", "inferior", "inconclusive"]
Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Interval:
    """A mean of n values with its t interval; the ends are NaN where n < 2, all is where n = 0."""

    mean: float
    low: float
    high: float
    n: int

    @property
    def known(self) -> bool:
        """Whether there are values enough for an interval."""
        return self.n >= 2


NOTHING = Interval(math.nan, math.nan, math.nan, 0)


def compute_mean(values: Sequence[float]) -> float:
    """The mean; NaN of nothing."""
    return float(np.mean(values)) if len(values) else math.nan


def compute_sample_sd(values: Sequence[float]) -> float:
    """The sample standard deviation (ddof = 1); NaN below two values."""
    return float(np.std(values, ddof=1)) if len(values) >= 2 else math.nan


def compute_t_interval(values: Sequence[float], level: float = LEVEL) -> Interval:
    """The mean and its two-sided t interval with n - 1 degrees of freedom."""
    n = len(values)
    if n < 2:
        return Interval(compute_mean(values), math.nan, math.nan, n)
    half = float(stdtrit(n - 1, 0.5 + level / 2)) * compute_sample_sd(values) / math.sqrt(n)
    centre = compute_mean(values)
    return Interval(centre, centre - half, centre + half, n)


def pair_differences(ours: Mapping[int, float], theirs: Mapping[int, float]) -> list[float]:
    """ours - theirs for every seed that both have, in the order of the seeds."""
    return [ours[seed] - theirs[seed] for seed in sorted(ours.keys() & theirs.keys())]


def compute_paired_saving(ours: Mapping[int, float], theirs: Mapping[int, float]) -> Interval:
    """The share of a positive cost that `ours` saves against `theirs`, paired by seed.

    Computed on log-ratios, which a slow machine shifts alike for both, and turned back:
    1 - exp(mean log(ours / theirs)).
    """
    seeds = sorted(s for s in ours.keys() & theirs.keys() if ours[s] > 0 and theirs[s] > 0)
    logs = compute_t_interval([math.log(ours[s] / theirs[s]) for s in seeds])
    low, high = -math.expm1(logs.high), -math.expm1(logs.low)
    return Interval(-math.expm1(logs.mean), low, high, logs.n)


def judge_difference(difference: Interval, margin: float = MARGIN) -> Verdict:
    """Whether a difference (strategy - full) is no worse than -margin, by its interval alone."""
    if difference.n < LEAST:
        return "inconclusive"
    if difference.low > -margin:
        return "non-inferior"
    if difference.high < -margin:
        return "inferior"
    return "inconclusive"


def compute_p_no_worse(differences: Sequence[float], margin: float = MARGIN) -> float:
    """One-sided p of H0 "the mean difference is -margin or worse"; NaN below LEAST values.

    It is below 0.025 exactly where the verdict is "non-inferior".
    """
    shifted = [value + margin for value in differences]
    return float(stdtr(len(shifted) - 1, -_compute_t_statistic(shifted)))


def compute_p_different(differences: Sequence[float]) -> float:
    """Two-sided p of H0 "the mean difference is zero"; NaN below LEAST values."""
    return float(2 * stdtr(len(differences) - 1, -abs(_compute_t_statistic(differences))))


def _compute_t_statistic(values: Sequence[float]) -> float:
    """Student's t of the mean against zero; NaN below LEAST values."""
    if len(values) < LEAST:
        return math.nan
    centre, error = compute_mean(values), compute_sample_sd(values) / math.sqrt(len(values))
    if error == 0:  # all values alike: certain, or nothing to tell
        return math.copysign(math.inf, centre) if centre else 0.0
    return centre / error


def apply_holm(raw: Mapping[Key, float]) -> dict[Key, float]:
    """Holm's step-down correction of a family of p values; NaN (no test made) stays NaN
    and does not count.
    """
    tested = sorted((k for k, p in raw.items() if not math.isnan(p)), key=lambda k: raw[k])
    adjusted = dict.fromkeys(raw, math.nan)
    largest = 0.0
    for rank, key in enumerate(tested):
        largest = max(largest, min(1.0, (len(tested) - rank) * raw[key]))
        adjusted[key] = largest
    return adjusted


def compute_realised(time_saved: float, flops_saved: float) -> float:
    """What part of the computation saved shows on the clock."""
    return time_saved / flops_saved if flops_saved >= SMALLEST_SHARE else math.nan
