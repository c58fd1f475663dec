"""Cluster-robust variance of accuracy differences, from the draw of the evaluation samples.

Evaluation samples that show the same source, such as a handwritten digit, are not independent. The
variance therefore allows any correlation between samples that share a source. With one source per
sample, it is the usual cluster-robust variance. With two sources, it is the dyadic-robust variance
of Fafchamps and Gubert (2007). The variance is computed with the inclusion–exclusion formula of
Cameron, Gelbach and Miller (2011). Runs that are evaluated on the same samples, for example runs of
several models, have correlated differences. Their covariance is computed from the same sums over
sources.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Pair = tuple[str, ...]  # model, data set


@dataclass(frozen=True)
class DrawVariance:
    """Variance of a mean of n values, due to the draw of the evaluation samples of one data set.

    total: variance of the mean. NaN if its estimate is negative by more than rounding.
    shared: part of this variance that the spread of the values does not show, because the draw
    moves several values together. shared is Σ(i ≠ j) cov(i, j) / (n (n − 1)). The expectation of
    s² / n + shared is then the variance of the mean, where s is the standard deviation of the
    values. shared can be negative.
    df: degrees of freedom.
    """

    total: float
    shared: float
    df: float


@dataclass(frozen=True)
class Residuals:
    """Sums over each source of the samples' centred differences, for one or more mean differences.

    Each mean difference, such as that of one seed, is called a value.
    sums: frames with one column per value. The rows of the first frame are sources. The rows of the
    second frame are pairs of sources that occur in one sample, and so on. All sums of a value are
    NaN if its samples show a single source, because the variance is then unknown.
    df: number of sources minus number of folds. Folds that share sources count as one.
    """

    sums: tuple[pd.DataFrame, ...]
    df: int

    def average(self) -> Residuals:
        """Return the residuals of the mean of the values, as one column."""
        means = (frame.mean(axis=1, skipna=False).to_frame() for frame in self.sums)
        return Residuals(tuple(means), self.df)

    def compute_covariance(self) -> NDArray[np.float64]:
        """Return the covariance (n, n) of the n values from the draw of the samples."""
        signed = [
            (-1) ** size * (frame.T.to_numpy() @ frame.to_numpy())
            for size, frame in enumerate(self.sums)
        ]
        return np.asarray(sum(signed), dtype=np.float64)

    def compute_variance(self) -> DrawVariance:
        """Return the variance of the mean of the values. For a single value, shared is 0.

        With two sources per sample, the estimate can be negative if there are few sources. It is
        then NaN, because the variance is unknown.
        """
        covariance = self.compute_covariance()
        n, total = len(covariance), float(covariance.sum())
        rounding = 1e-9 * float(np.square(self.sums[0].to_numpy()).sum())
        total = total if total >= -rounding else np.nan
        shared = (total - float(covariance.trace())) / (n * (n - 1)) if n > 1 else 0.0
        return DrawVariance(total / n**2, shared, self.df)


def compute_residuals(
    differences: Mapping[Hashable, NDArray[np.float64]],
    sources: Mapping[Hashable, NDArray[np.int64]],
) -> Residuals:
    """Return the residuals of the mean difference of each seed.

    differences: by seed, the difference of every evaluation sample (N,).
    sources: by seed, the ids of the sources of each sample (N, k). A source has the same id for all
    seeds.
    """
    sums = {seed: _sum_by_sources(values, sources[seed]) for seed, values in differences.items()}
    frames = tuple(_align(columns) for columns in zip(*sums.values(), strict=True))
    folds = _count_separate([set(parts[0].index) for parts in sums.values()])
    return Residuals(frames, len(frames[0]) - folds)


def _count_separate(folds: Sequence[set[Hashable]]) -> int:
    """Return the number of folds, where folds that share sources count as one."""
    separate: list[set[Hashable]] = []
    for fold in folds:
        overlapping = [other for other in separate if other & fold]
        separate = [other for other in separate if not other & fold]
        separate.append(fold.union(*overlapping))
    return len(separate)


def _align(columns: Sequence[pd.Series[float]]) -> pd.DataFrame:
    """Return a frame of the columns. If a column lacks a source, its value there is 0."""
    filled = [column.index for column in columns if len(column)]
    index = reduce(pd.Index.union, filled or [columns[0].index])
    return pd.DataFrame(
        {
            place: column.reindex(index, fill_value=0.0) if len(column) else 0.0
            for place, column in enumerate(columns)
        },
        index,
    )


def compute_pooled_variances(
    residuals: Mapping[Pair, Residuals], groups: Sequence[Sequence[Pair]]
) -> list[DrawVariance]:
    """Return the variance of the mean over groups of pairs, one entry per data set.

    residuals: residuals of each pair's mean difference, with one column.
    groups: groups of pairs of model and data set.
    The value of a group is the mean over its pairs, and all groups have the same weight. Models
    share the samples of a data set. The samples of different data sets are drawn independently.
    """
    variances = []
    for dataset in dict.fromkeys(pair[1] for pair in residuals):
        here = [residuals[pair] for group in groups for pair in group if pair[1] == dataset]
        frames = tuple(
            _align([_average_group(residuals, group, dataset, size) for group in groups])
            for size in range(max(len(part.sums) for part in here))
        )
        variances.append(Residuals(frames, min(part.df for part in here)).compute_variance())
    return variances


def _average_group(
    residuals: Mapping[Pair, Residuals], group: Sequence[Pair], dataset: str, size: int
) -> pd.Series[float]:
    """Return what one data set adds to the residuals of a group's mean, summed by source.

    size: the frame of `Residuals.sums`: 0 for single sources, 1 for pairs of sources, and so on.
    """
    every = [residuals[pair].sums[size].iloc[:, 0] for pair in group if pair[1] == dataset]
    if not every:
        return pd.Series(dtype=float)
    return _align(every).sum(axis=1, skipna=False) / len(group)


def _correct_for_mean(count: int, per_sample: int) -> float:
    """Return the factor that makes the variance unbiased, although the mean is estimated too.

    count: number of sources.
    per_sample: number of sources of a sample.
    With one source per sample, the mean absorbs one of `count` degrees of freedom. With two sources
    per sample, the factor is derived under two assumptions. The effects of the sources add up, and
    the samples show two sources drawn at random. With more sources per sample, the factor for two
    is used, and is then too small. If there is only one source in total, nothing is left to
    estimate, so the factor is NaN.
    """
    if count < 2:
        return float(np.nan)
    factor = count / (count - 1)
    return factor if per_sample == 1 else factor * count**2 / (count**2 - 3 * count + 3)


def _sum_by_sources(
    differences: NDArray[np.float64], sources: NDArray[np.int64]
) -> list[pd.Series[float]]:
    """Return the residuals of a mean, summed by sets of 1 to k sources that occur in one sample.

    differences: (N,).
    sources: (N, k). A source that occurs twice in a sample counts once.
    """
    flat = sources.ravel()
    if (flat[1:] > flat[:-1]).all():  # every sample is a source of its own
        names, places = flat, np.arange(len(flat))
    else:
        places, names = pd.factorize(flat, sort=True)  # hashes; np.unique sorts all samples
    count = len(names)
    scale = np.sqrt(_correct_for_mean(count, sources.shape[1]))
    centred = scale * (differences - differences.mean()) / len(differences)
    if sources.shape[1] == 1:  # the usual case, without the cost of grouping
        return [pd.Series(np.bincount(places, centred, count), names)]
    ordered = np.sort(sources, axis=1)
    new = np.ones_like(ordered, dtype=bool)
    new[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    sums = []
    for size in range(1, sources.shape[1] + 1):
        parts = []
        for columns in combinations(range(sources.shape[1]), size):
            rows = new[:, columns].all(axis=1)
            keys = [ordered[rows, column] for column in columns]
            index = pd.MultiIndex.from_arrays(keys) if size > 1 else pd.Index(keys[0])
            parts.append(pd.Series(centred[rows], index))
        sums.append(pd.concat(parts).groupby(level=list(range(size))).sum(min_count=1))
    return sums
