"""Contribution of each evaluation sample of a run to its score, from evaluation.npz."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.data.interface.metrics import Metric, compute_contributions
from bench.errors import UserError
from bench.results.evaluation_file import FILE, read_evaluation


@dataclass(frozen=True, eq=False, repr=False)
class SampleScores:
    """Evaluation samples of a run.

    contributions: in points, float64 (N,); their mean is the run's score. sources: numbers of the
    sources of each sample, int64 (N, k); a source has the same number in all runs on a data set.
    """

    contributions: NDArray[np.float64]
    sources: NDArray[np.int64]


def read_sample_scores(folder: Path, metric: Metric, score: float) -> SampleScores:
    """Read the evaluation samples of a finished run.

    score: the run's score, in percent. Raises UserError if the file is missing, damaged or of
    another result.
    """
    evaluation = read_evaluation(folder)
    contributions = compute_contributions(metric, evaluation.correct, evaluation.truth)
    if not abs(contributions.mean() - score) <= 100 / len(contributions):
        raise UserError(
            f"{folder / FILE} gives a score of {contributions.mean():.2f}, but result.json says "
            f"{score:.2f}; delete the folder to run it again"
        )
    return SampleScores(contributions, evaluation.number_sources())
