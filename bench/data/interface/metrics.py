"""What a model is worth on its evaluation split, in percent."""

from __future__ import annotations

import math
from typing import Literal

from torch import Tensor

Metric = Literal["accuracy", "matthews"]


def compute_accuracy(predicted: Tensor, truth: Tensor) -> float:
    """Percent of samples (N,) whose class is told."""
    return 100 * int((predicted == truth).sum()) / len(truth)


def compute_matthews(predicted: Tensor, truth: Tensor) -> float:
    """Matthews correlation of two classes (N,), times 100; 0 where it is not defined.

    As GLUE scores CoLA: (TP·TN − FP·FN) / √((TP+FP)(TP+FN)(TN+FP)(TN+FN)).
    """
    counts = [int(((predicted == p) & (truth == t)).sum()) for p in (1, 0) for t in (1, 0)]
    tp, fp, fn, tn = counts
    scale = math.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
    return 100 * (tp * tn - fp * fn) / scale if scale else 0.0


METRICS = {"accuracy": compute_accuracy, "matthews": compute_matthews}
