"""Calibration of the predictor's probabilities and the choice of its threshold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from strategies.smartfrz.training.corpus import Histories

BINS = 10


def compute_reliability(histories: Histories, p: Tensor) -> list[tuple[float, float, int]]:
    """Of moments in ten bins of P(freeze): the mean of P, the share converged, their number."""
    p, label = p[histories.known], histories.label[histories.known].double()
    places = (p * BINS).long().clamp(max=BINS - 1)
    bins = []
    for i in range(BINS):
        here = places == i
        if here.any():
            bins.append((float(p[here].mean()), float(label[here].mean()), int(here.sum())))
    return bins


def compute_calibration_error(bins: Sequence[tuple[float, float, int]]) -> float:
    """Expected calibration error: mean distance of P from the share converged, over moments."""
    return sum(abs(p - share) * n for p, share, n in bins) / sum(n for _, _, n in bins)


def calibrate_threshold(
    histories: Histories, judged: Mapping[str, Tensor], wrong: float
) -> tuple[float, float]:
    """The lowest P(freeze) at which at most a share `wrong` of the freezes are wrong.

    A layer freezes at the first moment at which its probability reaches the threshold, and that
    is wrong if it is labelled as not converged then. All held-out splits count alike. Returns the
    threshold and its share; where none is good enough, the highest tried, 0.99.
    """
    for step in range(50, 100):
        froze = bad = 0
        for p in judged.values():
            over = (p >= step / 100) & histories.known
            first = over & (over.cumsum(1) == 1)
            froze += int(first.sum())
            bad += int((first & ~histories.label).sum())
        if bad <= wrong * froze:
            break
    return step / 100, bad / max(froze, 1)
