"""When a layer counts as converged: what the predictor is trained to say."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

KINDS = ("stable", "settled")


@dataclass(frozen=True)
class Rule:
    """How a curve of CKA values becomes labels.

    stable: the last k values lie within ε of each other (the paper's rule).
    settled: this value and all that follow lie within ε of each other; it looks ahead.
    smooth: values that are averaged first, each with those before it; 1 = none.
    """

    kind: str = "stable"
    k: int = 4
    epsilon: float = 0.01
    smooth: int = 1

    def labels(self, curve: Tensor) -> tuple[Tensor, Tensor]:
        """Labels, and where there is one, bool (S, L) each, from CKA values (S, L)."""
        if self.smooth > 1:
            curve = torch.stack(
                [curve[max(0, i - self.smooth + 1) : i + 1].mean(0) for i in range(len(curve))]
            )
        known = torch.zeros_like(curve, dtype=torch.bool)
        labels = torch.zeros_like(known)
        for i in range(self.k - 1 if self.kind == "stable" else 0, len(curve)):
            seen = curve[i - self.k + 1 : i + 1] if self.kind == "stable" else curve[i:]
            known[i] = seen.isfinite().all(0)
            labels[i] = known[i] & (seen.amax(0) - seen.amin(0) < self.epsilon)
        return labels, known
