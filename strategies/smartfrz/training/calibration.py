"""Calibration of the predictor's probabilities, and choice of its threshold.

A moment is a time in a run at which one layer is classified. Its label says whether the layer has
converged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from strategies.smartfrz.training.corpus import Histories

BINS = 10


def compute_reliability(histories: Histories, p: Tensor) -> list[tuple[float, float, int]]:
    """Return (mean of P, fraction converged, number of moments) for bins of P(freeze).

    A bin is an interval of width 0.1. Bins without moments are left out.
    p (N, S): P(freeze) at the moments of the histories, NaN where no P is known.
    """
    known = histories.known & p.isfinite()
    p, label = p[known], histories.label[known].double()
    places = (p * BINS).long().clamp(max=BINS - 1)
    bins = []
    for i in range(BINS):
        here = places == i
        if here.any():
            bins.append((float(p[here].mean()), float(label[here].mean()), int(here.sum())))
    return bins


def compute_calibration_error(bins: Sequence[tuple[float, float, int]]) -> float:
    """Return the expected calibration error: mean |P − fraction converged| over moments."""
    return sum(abs(p - share) * n for p, share, n in bins) / sum(n for _, _, n in bins)


def count_freezes(histories: Histories, p: Tensor, threshold: float) -> tuple[int, int]:
    """Return the number of freezes at a threshold, and how many of them are wrong.

    p (N, S): P(freeze) at the moments of the histories, NaN where no P is known. A layer freezes at
    the first labelled moment at which its P(freeze) reaches the threshold. The freeze is wrong if
    the layer is labelled as not converged at this moment.
    """
    over = (p >= threshold) & histories.known
    first = over & (over.cumsum(1) == 1)
    return int(first.sum()), int((first & ~histories.label).sum())


def calibrate_threshold(
    histories: Histories, predicted: Mapping[str, Tensor], wrong: float
) -> tuple[float, int, int]:
    """Return the lowest threshold with at most a fraction `wrong` of wrong freezes.

    The other values are the number of freezes at this threshold, and how many of them are wrong.
    predicted: held-out P(freeze) (N, S) by split, NaN where no P is known.
    The freezes of all splits are pooled. They are counted as in `count_freezes`.
    Thresholds from 0.50 to 0.99 are tried in steps of 0.01. If all of them give more wrong freezes
    than allowed, the result is 0.99.
    """
    for step in range(50, 100):
        counts = [count_freezes(histories, p, step / 100) for p in predicted.values()]
        froze, bad = (sum(parts) for parts in zip(*counts, strict=True))
        if bad <= wrong * froze:
            break
    return step / 100, froze, bad
