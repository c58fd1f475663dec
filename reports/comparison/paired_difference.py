"""Difference in accuracy between two cells of one model and data set, paired by seed and sample.

Both runs of a seed have the same split, so the draw of the evaluation samples affects both.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping
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
        (one["seed"], one["id"], one["samples"], other["id"], other["samples"])
        for one, other in both
    )
    return PairedDifference(
        {one["seed"]: one["accuracy"] - other["accuracy"] for one, other in both},
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
        one, other = read(), read_other()
        if not np.array_equal(one.sources, other.sources):
            raise UserError(
                f"runs {run} and {other_run} were evaluated on different samples, so they cannot "
                "be compared; give both the same data and evaluate_on"
            )
        differences[seed] = one.contributions - other.contributions
        sources[seed] = one.sources
    return compute_residuals(differences, sources)


def average_seeds(
    differences: Mapping[Pair, PairedDifference],
) -> tuple[dict[Pair, float], dict[Pair, Residuals]]:
    """Return the mean difference of each pair and its residuals.

    Pairs without a common seed are left out.
    """
    means = {pair: one.mean for pair, one in differences.items() if one.n}
    residuals = {
        pair: one.residuals.average() for pair, one in differences.items() if one.residuals
    }
    return means, residuals
