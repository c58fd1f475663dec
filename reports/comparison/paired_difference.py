"""Difference in accuracy between two cells of one model and data set, paired by seed and sample.

Both runs of a seed have the same split, so the draw of the evaluation samples affects both.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from bench.errors import UserError
from reports import statistics
from reports.runs.cells import Cell
from reports.runs.sample_scores import SampleScores
from reports.sampling import DrawVariance, Pair, Residuals, compute_residuals
from reports.statistics import Interval

FEW_SOURCES = 3  # degrees of freedom of the test draw
NOT_COMPUTABLE = (
    "An interval and a p value cannot be computed for these differences, so their verdict is "
    "inconclusive. Pooled differences that include them have no interval either."
)
Read = Callable[[], SampleScores]  # reads the samples of one run


@dataclass(frozen=True)
class PairedDifference:
    """Difference in accuracy, in points, for every seed that both cells have finished.

    residuals: residuals of the evaluation samples; None without a common seed.
    """

    by_seed: Mapping[int, float]
    residuals: Residuals | None

    @property
    def n(self) -> int:
        """Number of seeds."""
        return len(self.by_seed)

    @property
    def mean(self) -> float:
        """Mean difference, NaN without a common seed."""
        return statistics.compute_mean(list(self.by_seed.values()))

    @cached_property
    def draws(self) -> list[DrawVariance]:
        """Variances from the draw of evaluation samples: one, or none without a common seed."""
        return [self.residuals.compute_variance()] if self.residuals else []

    @cached_property
    def interval(self) -> Interval:
        """95 % interval that covers the seeds and the draw of the evaluation samples."""
        return statistics.compute_t_interval(list(self.by_seed.values()), draws=self.draws)

    @property
    def errors(self) -> tuple[float, float]:
        """Two standard errors of the mean: by the spread over seeds, and by the test draw.

        Both are NaN below two seeds.
        """
        every = statistics.estimate_mean(list(self.by_seed.values()), self.draws)
        return every[0].error, every[-1].error if self.n >= 2 else math.nan

    @property
    def p_different(self) -> float:
        """Two-sided p of the null hypothesis "the mean difference is zero"."""
        return statistics.compute_p_different(list(self.by_seed.values()), self.draws)


def compare_accuracy(ours: Cell, theirs: Cell) -> PairedDifference:
    """Return the accuracy of `ours` minus that of `theirs`, paired by seed and sample.

    Raises UserError if the two runs of a seed were evaluated on different samples.
    """
    first, second = ({run["seed"]: run for run in cell.finished} for cell in (ours, theirs))
    both = [(first[seed], second[seed]) for seed in sorted(first.keys() & second.keys())]
    pairs = tuple(
        (our["seed"], our["id"], our["samples"], their["id"], their["samples"])
        for our, their in both
    )
    return PairedDifference(
        {our["seed"]: our["accuracy"] - their["accuracy"] for our, their in both},
        _subtract_samples(pairs) if pairs else None,
    )


@lru_cache(maxsize=512)  # a table, the page's answer and its dot plots compare the same cells
def _subtract_samples(pairs: tuple[tuple[int, str, Read, str, Read], ...]) -> Residuals:
    """Return the residuals of the differences between runs.

    pairs: seed, then id and sample reader of each of the two runs.
    """
    differences: dict[Hashable, NDArray[np.float64]] = {}
    sources: dict[Hashable, NDArray[np.int64]] = {}
    for seed, run, read, other_run, read_other in pairs:
        ours, theirs = read(), read_other()
        if not np.array_equal(ours.sources, theirs.sources):
            raise UserError(
                f"runs {run} and {other_run} were evaluated on different samples, so they cannot "
                "be compared; give both the same data, evaluate_on and length"
            )
        differences[seed] = ours.contributions - theirs.contributions
        sources[seed] = ours.sources
    return compute_residuals(differences, sources)


def describe_few_sources(differences: Sequence[tuple[str, PairedDifference]]) -> list[str]:
    """Return notes on data sets whose test samples come from one source or a few sources.

    differences: name of a data set, and a difference in accuracy on it.
    """
    single: dict[str, None] = {}
    negative: dict[str, None] = {}
    few: dict[str, int] = {}
    for name, difference in differences:
        if difference.residuals is None:
            continue
        sums = difference.residuals.sums[0]
        if sums.isna().any(axis=None):
            single[name] = None
        elif any(math.isnan(draw.total) for draw in difference.draws):
            negative[name] = None
        elif difference.residuals.df < FEW_SOURCES and difference.interval.known:
            few[name] = len(sums)
    notes = []
    if single:
        notes.append(
            f"One source: all test samples of a run on {', '.join(single)} come from one source, "
            f"such as a font. How much sources differ is unknown. {NOT_COMPUTABLE}"
        )
    if negative:
        notes.append(
            f"Unknown variance: on {', '.join(negative)}, the estimate of the variance between "
            "sources, such as fonts, is negative for some differences, because there are few "
            f"sources. {NOT_COMPUTABLE}"
        )
    if few:
        listed = ", ".join(f"{name}: {count}" for name, count in few.items())
        notes.append(
            f"Few sources: some test samples come from few sources, such as fonts ({listed}). The "
            "number after a data set is that of its sources. Intervals cover other sources too, so "
            "they are very wide and say little."
        )
    return notes


def average_seeds(
    differences: Mapping[Pair, PairedDifference],
) -> tuple[dict[Pair, float], dict[Pair, Residuals]]:
    """Return the mean difference of each pair and its residuals.

    Pairs without a common seed are left out.
    """
    means = {pair: difference.mean for pair, difference in differences.items() if difference.n}
    residuals = {
        pair: difference.residuals.average()
        for pair, difference in differences.items()
        if difference.residuals
    }
    return means, residuals
