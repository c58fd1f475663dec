"""Metrics of a model on the evaluation part, in percent."""

from __future__ import annotations

import math
from typing import Literal

from torch import Tensor

Metric = Literal["accuracy", "matthews"]


def compute_accuracy(predicted: Tensor, truth: Tensor) -> float:
    """Return the percentage of samples (N,) whose predicted class is the true one."""
    return 100 * int((predicted == truth).sum()) / len(truth)


def compute_matthews(predicted: Tensor, truth: Tensor) -> float:
    """Return the Matthews correlation of two classes (N,), times 100; 0 if it is undefined.

    GLUE scores CoLA by it: (TP·TN − FP·FN) / √((TP+FP)(TP+FN)(TN+FP)(TN+FN)).
    """
    counts = [int(((predicted == p) & (truth == t)).sum()) for p in (1, 0) for t in (1, 0)]
    tp, fp, fn, tn = counts
    scale = math.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
    return 100 * (tp * tn - fp * fn) / scale if scale else 0.0


METRICS = {"accuracy": compute_accuracy, "matthews": compute_matthews}
