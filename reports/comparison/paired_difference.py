"""Difference in accuracy between two cells of one model and data set, paired by seed and sample.

Both runs of a seed have the same split, so the draw of the evaluation samples acts on both.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from bench.errors import UserError
from reports import statistics
from reports.runs.cells import Cell
from reports.sampling import DrawVariance, Pair, Residuals, compute_residuals
from reports.statistics import Interval


@dataclass(frozen=True)
class PairedDifference:
    """Difference in accuracy, in points, for every seed that both cells have finished.

    residuals: of the evaluation samples; None without a common seed.
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
        """Variance from the draw of the evaluation samples; empty without a common seed."""
        return [self.residuals.compute_variance()] if self.residuals else []

    @cached_property
    def interval(self) -> Interval:
        """95 % interval that covers the seeds and the draw of the evaluation samples."""
        return statistics.compute_t_interval(list(self.by_seed.values()), draws=self.draws)

    @property
    def errors(self) -> tuple[float, float]:
        """Standard errors by the spread over seeds and by the test draw; NaN below two seeds."""
        every = statistics.estimate_mean(list(self.by_seed.values()), self.draws)
        return every[0].error, every[-1].error if self.n >= 2 else math.nan

    @property
    def p_different(self) -> float:
        """Two-sided p of H0 "the difference is zero"."""
        return statistics.compute_p_different(list(self.by_seed.values()), self.draws)


def compare_accuracy(ours: Cell, theirs: Cell) -> PairedDifference:
    """Return the accuracy of `ours` minus that of `theirs`.

    Raises UserError if two runs of a seed were evaluated on different samples.
    """
    first, second = ({run["seed"]: run for run in cell.finished} for cell in (ours, theirs))
    seeds = sorted(first.keys() & second.keys())
    differences, sources = {}, {}
    for seed in seeds:
        one, other = first[seed]["samples"](), second[seed]["samples"]()
        if not np.array_equal(one.sources, other.sources):
            raise UserError(
                f"runs {first[seed]['id']} and {second[seed]['id']} were evaluated on different "
                "samples, so they cannot be compared; give both the same data and evaluate_on"
            )
        differences[seed] = one.contributions - other.contributions
        sources[seed] = one.sources
    return PairedDifference(
        {seed: first[seed]["accuracy"] - second[seed]["accuracy"] for seed in seeds},
        compute_residuals(differences, sources) if seeds else None,
    )


def average_seeds(
    differences: Mapping[Pair, PairedDifference],
) -> tuple[dict[Pair, float], dict[Pair, Residuals]]:
    """Return the mean difference of each pair and its residuals, for pairs with a common seed."""
    means = {pair: one.mean for pair, one in differences.items() if one.n}
    residuals = {
        pair: one.residuals.average() for pair, one in differences.items() if one.residuals
    }
    return means, residuals
