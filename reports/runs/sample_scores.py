"""Contribution of each evaluation sample of a run to its score, from evaluation.npz."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.data.interface.metrics import Metric, compute_contributions
from bench.errors import UserError
from bench.results.evaluation_file import FILE, read_evaluation

KEPT = 256 << 20  # bytes of the scores that are kept; 3,000 runs with 5,000 samples each


@dataclass(frozen=True, eq=False, repr=False)
class SampleScores:
    """Evaluation samples of a run.

    contributions: contribution of each sample to the score in points, float64 (N,). Their mean is
    the run's score.
    sources: ids of the sources of each sample, int64 (N, k). A source has the same id in all runs
    on a data set.
    """

    contributions: NDArray[np.float64]
    sources: NDArray[np.int64]

    @property
    def nbytes(self) -> int:
        """Size of both arrays in bytes."""
        return self.contributions.nbytes + self.sources.nbytes


class _Recent:
    """Cache of the sample scores that were read last, of at most KEPT bytes.

    The cache helps because a table compares the runs of full training with those of each method.
    """

    def __init__(self) -> None:
        self._kept: OrderedDict[Hashable, SampleScores] = OrderedDict()
        self._bytes = 0

    def get(self, key: Hashable, read: Callable[[], SampleScores]) -> SampleScores:
        """Return the scores for `key` from the cache. If they are not cached, call `read`."""
        scores = self._kept.pop(key, None)
        if scores is None:
            scores = read()
            self._bytes += scores.nbytes
        self._kept[key] = scores
        while self._bytes > KEPT and len(self._kept) > 1:
            self._bytes -= self._kept.popitem(last=False)[1].nbytes
        return scores


_recent = _Recent()


def read_sample_scores(folder: Path, metric: Metric, score: float) -> SampleScores:
    """Return the evaluation samples of a finished run, from the file or from the cache.

    The arrays must not be written to.
    score: the run's score, in percent.
    Raises UserError if the file is missing, damaged or belongs to another result.
    """
    try:
        facts = (folder / FILE).stat()
    except OSError:
        return _read(folder, metric, score)  # which says what is wrong
    key = (folder, metric, score, facts.st_ino, facts.st_mtime_ns, facts.st_size)
    return _recent.get(key, partial(_read, folder, metric, score))


def _read(folder: Path, metric: Metric, score: float) -> SampleScores:
    evaluation = read_evaluation(folder)
    if metric == "loss" and evaluation.losses is None:
        raise UserError(f"{folder / FILE} has no losses; delete the folder to run it again")
    contributions = compute_contributions(
        metric, evaluation.correct, evaluation.truth, evaluation.losses
    )
    if not abs(contributions.mean() - score) <= 100 / len(contributions):
        raise UserError(
            f"{folder / FILE} gives a score of {contributions.mean():.2f}, but result.json says "
            f"{score:.2f}; delete the folder to run it again"
        )
    return SampleScores(contributions, evaluation.number_sources())
