"""Statistics for five seeds: intervals, paired differences, non-inferiority, Holm's correction.

Accuracies and differences are in percentage points. Tests and intervals are two-sided at 95 %
unless stated otherwise. We use Student's t throughout, because the alternatives fail for five
values. A nominal 95 % bootstrap interval covers 84 %, and Wilcoxon's test never gives p < 0.0625.

An interval of accuracy differences covers the seeds and the draw of the evaluation samples. It
contains three intervals, with different variances. The first variance comes from the spread of the
values. The second adds the covariance of values that share evaluation samples
(reports/sampling.py). The third comes from the draw of the samples alone.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
from scipy.special import nctdtrinc, stdtr, stdtrit  # importing scipy.stats takes a second

from reports.sampling import DrawVariance

LEVEL = 0.95
ONE_SIDED = (1 - LEVEL) / 2  # significance level of a one-sided test
MARGIN = 0.5  # non-inferiority margin in points, fixed before any result was seen
SMALLEST_SHARE = 0.05  # below this share of FLOPs saved the realised ratio is mostly noise
LEAST = 3  # minimum number of values for a verdict or p; two may be equal by chance
POWER = 0.8  # probability of finding a difference that is as large as the detectable one
MARGIN_OPEN: Literal["worse, margin open"] = "worse, margin open"

Verdict = Literal["non-inferior", "inferior", "worse, margin open", "inconclusive"]
Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Interval:
    """Mean of n values with its t interval.

    low and high are NaN if n < 2, or if all test samples come from one source. The mean is also NaN
    if n = 0.
    df: degrees of freedom of the standard error. None means n − 1.
    """

    mean: float
    low: float
    high: float
    n: int
    df: float | None = None

    @property
    def known(self) -> bool:
        """Whether both ends are finite."""
        return math.isfinite(self.low) and math.isfinite(self.high)


def widen_interval(interval: Interval, tests: int) -> Interval:
    """Return the interval of one of several tests, by Bonferroni's correction.

    tests: number of tests. The level rises from LEVEL to 1 − (1 − LEVEL) / tests. If the interval
    contains those of several estimates, the degrees of freedom of the widest one scale its ends.
    """
    df = interval.n - 1 if interval.df is None else interval.df
    if tests <= 1 or not interval.known or df <= 0:
        return interval
    tail = (1 - LEVEL) / 2
    scale = float(stdtrit(df, 1 - tail / tests) / stdtrit(df, 1 - tail))
    low, high = (
        interval.mean + scale * (end - interval.mean) for end in (interval.low, interval.high)
    )
    return Interval(interval.mean, low, high, interval.n, interval.df)


NO_INTERVAL = Interval(math.nan, math.nan, math.nan, 0)


def compute_mean(values: Sequence[float]) -> float:
    """Return the mean, or NaN if there are no values."""
    return float(np.mean(values)) if len(values) else math.nan


def compute_sample_sd(values: Sequence[float]) -> float:
    """Return the sample standard deviation (ddof = 1), or NaN for fewer than two values."""
    return float(np.std(values, ddof=1)) if len(values) >= 2 else math.nan


@dataclass(frozen=True)
class MeanEstimate:
    """Mean of n values with a standard error and its degrees of freedom.

    The standard error is NaN if n < 2.
    """

    mean: float
    error: float
    df: float
    n: int

    def compute_interval(self) -> Interval:
        """Return the two-sided t interval of the mean at the confidence level LEVEL."""
        half = float(stdtrit(self.df, 0.5 + LEVEL / 2)) * self.error
        return Interval(self.mean, self.mean - half, self.mean + half, self.n, self.df)

    def compute_t(self, shift: float = 0.0) -> float:
        """Return Student's t of the mean plus `shift`, or NaN for fewer than LEAST values."""
        if self.n < LEAST:
            return math.nan
        centre = self.mean + shift
        if self.error == 0:  # all values are equal: t is infinite, or 0 if they are zero
            return math.copysign(math.inf, centre) if centre else 0.0
        return centre / self.error


def estimate_mean(
    values: Sequence[float], draws: Sequence[DrawVariance] = ()
) -> tuple[MeanEstimate, ...]:
    """Return the mean three times, each with a different estimate of its variance.

    The first variance is s² / n, from the spread of the n values. The second adds the shared parts
    of the draws, with the degrees of freedom of Satterthwaite (1946). These can exceed n − 1 and
    make the interval narrower, so the first estimate is kept too. The third is the variance from
    the draws alone.
    draws: variances from the draw of evaluation samples, one per data set. Without draws, or with
    fewer than two values, only the first estimate is returned.
    """
    n, centre = len(values), compute_mean(values)
    spread = (compute_sample_sd(values) ** 2 / max(n, 1), float(n - 1))
    # np.maximum keeps NaN, which stands for an unknown variance.
    shared = [(float(np.maximum(0.0, draw.shared)), draw.df) for draw in draws]
    alone = [(float(np.maximum(0.0, draw.total)), draw.df) for draw in draws]
    models = [[spread], [spread, *shared], alone] if draws and n >= 2 else [[spread]]
    return tuple(MeanEstimate(centre, *_add_variances(parts), n) for parts in models)


def _add_variances(parts: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Return the standard error and the degrees of freedom of a sum of variances.

    parts: variances with their degrees of freedom. If all variances are 0, the result has the
    degrees of freedom of the first part.
    """
    total = sum(variance for variance, _ in parts)
    if total == 0 or math.isnan(total):
        return total, parts[0][1]
    return math.sqrt(total), 1 / sum((v / total) ** 2 / df for v, df in parts if v > 0)


def _find_widest(estimates: Sequence[MeanEstimate]) -> Interval:
    """Return the smallest interval that contains the intervals of all estimates.

    Its degrees of freedom are those of the widest of these intervals. Its ends are NaN if an end of
    any of these intervals is NaN.
    """
    intervals = [estimate.compute_interval() for estimate in estimates]
    low = np.array([interval.low for interval in intervals])
    high = np.array([interval.high for interval in intervals])
    first, widest = intervals[0], intervals[int(np.argmax(high - low))]
    return Interval(first.mean, float(low.min()), float(high.max()), first.n, widest.df)


def compute_t_interval(values: Sequence[float], draws: Sequence[DrawVariance] = ()) -> Interval:
    """Return the mean and its two-sided t interval.

    draws: variances from the draw of evaluation samples. With draws, the interval contains the
    intervals of all estimates of `estimate_mean`.
    """
    if len(values) < 2:
        return Interval(compute_mean(values), math.nan, math.nan, len(values))
    return _find_widest(estimate_mean(values, draws))


def compute_detectable_difference(interval: Interval) -> float:
    """Return the smallest true mean that a two-sided t test finds with probability POWER.

    interval: t interval whose width gives the standard error. The result is NaN for fewer than
    LEAST values.
    """
    if interval.n < LEAST:
        return math.nan
    df = interval.n - 1 if interval.df is None else interval.df
    critical = float(stdtrit(df, 0.5 + LEVEL / 2))
    error = (interval.high - interval.low) / 2 / critical
    return float(nctdtrinc(df, 1 - POWER, critical)) * error


def compute_paired_saving(ours: Mapping[int, float], theirs: Mapping[int, float]) -> Interval:
    """Return the share of a positive cost that `ours` saves relative to `theirs`, paired by seed.

    ours, theirs: cost by seed. The share is 1 - exp(mean log(ours / theirs)). Ratios are used
    because a slow machine changes both costs by the same factor.
    """
    seeds = sorted(s for s in ours.keys() & theirs.keys() if ours[s] > 0 and theirs[s] > 0)
    logs = compute_t_interval([math.log(ours[s] / theirs[s]) for s in seeds])
    low, high = -math.expm1(logs.high), -math.expm1(logs.low)
    return Interval(-math.expm1(logs.mean), low, high, logs.n)


def judge_difference(difference: Interval) -> Verdict:
    """Return the verdict on a difference (method - full training, points) from its interval.

    "worse, margin open" means that the interval is below 0 and contains -MARGIN. The method then
    loses accuracy, but the data do not show whether it loses more than the margin.
    """
    if difference.n < LEAST:
        return "inconclusive"
    if difference.low > -MARGIN:
        return "non-inferior"
    if difference.high < -MARGIN:
        return "inferior"
    return MARGIN_OPEN if difference.high < 0 else "inconclusive"


def compute_p_no_worse(
    differences: Sequence[float], draws: Sequence[DrawVariance] = (), *, margin: float = MARGIN
) -> float:
    """Return the one-sided p of H0 "the mean difference is -margin or worse".

    p is below 0.025 exactly if the verdict is "non-inferior". NaN for fewer than LEAST values.
    draws: as for `compute_t_interval`. With draws, p is the largest over the estimates of
    `estimate_mean`.
    """
    estimates = estimate_mean(differences, draws)
    return float(
        np.max([stdtr(estimate.df, -estimate.compute_t(margin)) for estimate in estimates])
    )


def compute_p_different(differences: Sequence[float], draws: Sequence[DrawVariance] = ()) -> float:
    """Return the two-sided p of H0 "the mean difference is zero".

    NaN for fewer than LEAST values.
    draws: as for `compute_t_interval`. With draws, p is the largest over the estimates of
    `estimate_mean`.
    """
    estimates = estimate_mean(differences, draws)
    return float(
        np.max([2 * stdtr(estimate.df, -abs(estimate.compute_t())) for estimate in estimates])
    )


def apply_holm(raw: Mapping[Key, float], family: int = 0) -> dict[Key, float]:
    """Return a family of p values adjusted by Holm's step-down correction.

    NaN means that no test was made, and stays NaN.
    family: number of planned tests, if it is larger than the number of tests made. A planned test
    without a p value counts as a test with p = 1. The correction of unfinished results is therefore
    not weaker than that of complete results.
    """
    tested = sorted((k for k, p in raw.items() if not math.isnan(p)), key=lambda k: raw[k])
    size = max(family, len(tested))
    adjusted = dict.fromkeys(raw, math.nan)
    largest = 0.0
    for rank, key in enumerate(tested):
        largest = max(largest, min(1.0, (size - rank) * raw[key]))
        adjusted[key] = largest
    return adjusted


def compute_realised(time_saved: float, flops_saved: float) -> float:
    """Return the ratio of the share of time saved to the share of FLOPs saved.

    The ratio is NaN if less than SMALLEST_SHARE of the FLOPs is saved.
    """
    return time_saved / flops_saved if flops_saved >= SMALLEST_SHARE else math.nan
