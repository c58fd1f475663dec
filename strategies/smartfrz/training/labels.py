"""Label rules, which decide when a layer counts as converged. The predictor learns the labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

KINDS = ("stable", "settled")
CURVES = {"unbiased": "cka", "biased": "cka_biased"}  # tensor of a recording, by estimator


@dataclass(frozen=True)
class Rule:
    """Rule that turns a curve of CKA values into labels.

    kind: "stable", the paper's rule, or "settled". By "stable", a layer has converged if the range
        of the last k values is below ε. By "settled", a layer has converged if the range of the
        current and all later values is below ε, so the rule uses the future.
    k: number of values for "stable".
    epsilon: ε, the limit on the range.
    smooth: length of a moving average over the current and earlier values, applied first; 1 means
        no average.
    estimator: "unbiased" for HSIC₁, "biased" for the paper's eq. 5.
    every: use only each n-th CKA value. Recordings hold two values per epoch, so 2 keeps the ends
        of epochs.
    """

    kind: str = "stable"
    k: int = 4
    epsilon: float = 0.01
    smooth: int = 1
    estimator: str = "unbiased"
    every: int = 1

    def select(self, trace: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return the CKA values (S, L) of a recording that the rule uses, and their times (S,).

        trace: see `Record`. A time is the fraction of the run that is done.
        """
        curve = trace[CURVES[self.estimator]]
        return curve[:: self.every], trace["probes"][:: self.every]

    def labels(self, curve: Tensor) -> tuple[Tensor, Tensor]:
        """Return labels and known, bool (S, L) each, from CKA values (S, L).

        A label is True if the layer has converged. known is False where a label cannot be computed,
        because a value that the rule needs does not exist or is NaN.
        """
        if self.smooth > 1:
            curve = torch.stack(
                [curve[max(0, i - self.smooth + 1) : i + 1].mean(0) for i in range(len(curve))]
            )
        known = torch.zeros_like(curve, dtype=torch.bool)
        labels = torch.zeros_like(known)
        # `stable` looks back at k values; `settled` looks ahead, so the last value says nothing.
        labelled = {"stable": range(self.k - 1, len(curve)), "settled": range(len(curve) - 1)}
        for i in labelled[self.kind]:
            seen = curve[i - self.k + 1 : i + 1] if self.kind == "stable" else curve[i:]
            known[i] = seen.isfinite().all(0)
            labels[i] = known[i] & (seen.amax(0) - seen.amin(0) < self.epsilon)
        return labels, known
