"""Linear CKA in its feature form, an oracle for the kernel form of the strategies."""

from __future__ import annotations

from torch import Tensor


def compute_linear_cka(x: Tensor, y: Tensor) -> float:
    """Return the linear CKA of outputs x (n, p) and y (n, q): eq. 5 of SmartFRZ.

    Features are centred first, and all sums are computed in float64. Returns NaN if x or y does not
    vary.
    """
    x, y = (z.double() - z.double().mean(0) for z in (x.flatten(1), y.flatten(1)))
    return float((y.T @ x).square().sum() / ((x.T @ x).norm() * (y.T @ y).norm()))
