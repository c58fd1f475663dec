"""Metrics of a model on the evaluation part, scaled by 100. Higher is better."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

Metric = Literal["accuracy", "matthews", "loss"]


def compute_accuracy(predicted: Tensor, truth: Tensor) -> float:
    """Return the percentage of samples (N,) whose predicted class is the true class."""
    return 100 * int((predicted == truth).sum()) / len(truth)


def compute_matthews(predicted: Tensor, truth: Tensor) -> float:
    """Return the Matthews correlation of two classes (N,), times 100; 0 if it is undefined.

    GLUE scores CoLA by this value: (TP·TN − FP·FN) / √((TP+FP)(TP+FN)(TN+FP)(TN+FN)).
    """
    counts = [int(((predicted == p) & (truth == t)).sum()) for p in (1, 0) for t in (1, 0)]
    tp, fp, fn, tn = counts
    scale = math.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
    return 100 * (tp * tn - fp * fn) / scale if scale else 0.0


def compute_loss_score(losses: Tensor) -> float:
    """Return −100 times the mean of losses (N,) in nats. A point is about 1 % of perplexity."""
    return -100 * float(losses.double().mean())


def compute_contributions(
    metric: Metric,
    correct: NDArray[np.bool_],
    truth: NDArray[np.bool_] | None,
    losses: NDArray[np.float32] | None = None,
) -> NDArray[np.float64]:
    """Return the contribution of each sample to the score, scaled by 100, float64 (N,).

    The mean of the contributions is the score. If they are treated as independent, the variance of
    their mean is the variance of the score. This is exact for accuracy and loss, and true to first
    order (the delta method) for Matthews correlation. A contribution to Matthews correlation is the
    score plus N times a derivative of the score. The derivative is with respect to the count (such
    as TP) to which the sample belongs.
    correct: (N,), whether the predicted class is the true class.
    truth: (N,), whether the true class is class 1, for Matthews only.
    losses: (N,) in nats, for "loss" only.
    """
    if metric == "loss":
        assert losses is not None, "the score needs the loss of each sample"
        return -100 * losses.astype(np.float64)
    if metric == "accuracy":
        return np.where(correct, 100.0, 0.0)
    assert truth is not None, "Matthews correlation needs the true classes"
    said = correct == truth  # the predicted class is the true one, or the other of two
    places = 2 * (~said) + ~truth  # TP, FP, FN, TN
    tp, fp, fn, tn = (int((places == i).sum()) for i in range(4))
    sums = (tp + fp, tp + fn, tn + fp, tn + fn)
    scale = math.sqrt(math.prod(sums))
    if scale == 0:
        return np.zeros(len(correct))
    score = (tp * tn - fp * fn) / scale
    a, b, c, d = (score / (2 * each) for each in sums)
    slopes = np.array(
        [tn / scale - a - b, -fn / scale - a - c, -fp / scale - b - d, tp / scale - c - d]
    )
    return np.asarray(100 * (score + len(correct) * slopes[places]), dtype=np.float64)


METRICS = {"accuracy": compute_accuracy, "matthews": compute_matthews}
