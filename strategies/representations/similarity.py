"""Centred kernel alignment: how alike two layers' outputs are on the same samples.

All sums run in float64. Outputs are (samples, features); features may differ in number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor


def compute_linear_cka(x: Tensor, y: Tensor) -> float:
    """Linear CKA of outputs x (n, p) and y (n, q): eq. 5 of SmartFRZ, features centred.

    Biased upwards where p or q is large against n. NaN if either does not vary.
    """
    n, p, q = len(x), x[0].numel(), y[0].numel()
    if max(p, q) > n:
        return float(compute_cka([(compute_gram(x), compute_gram(y))], estimate_hsic0))
    x, y = centre_features(x), centre_features(y)
    return float((y.T @ x).square().sum() / ((x.T @ x).norm() * (y.T @ y).norm()))


def centre_features(x: Tensor) -> Tensor:
    """Outputs (n, ...) as float64 (n, p) with every feature's mean taken off."""
    x = x.flatten(1).double()
    return x - x.mean(0)


def compute_gram(x: Tensor) -> Tensor:
    """The linear kernel x xᵀ (n, n) of centred outputs x (n, ...), in float64."""
    x = centre_features(x)
    return x @ x.T


def compute_cka(
    grams: Iterable[tuple[Tensor, Tensor]], hsic: Callable[[Tensor, Tensor], Tensor]
) -> Tensor:
    """CKA (...,) from pairs of kernels (..., n, n), one pair a batch of samples.

    hsic: `estimate_hsic0` for eq. 5, `estimate_hsic1` for the unbiased form. Its values are
    averaged over batches
    before the ratio (Nguyen et al. 2021). NaN where an output does not vary.
    """
    terms = torch.stack(
        [torch.stack((hsic(k, ell), hsic(k, k), hsic(ell, ell))) for k, ell in grams]
    )
    xy, xx, yy = terms.mean(0)
    # Without variation HSIC₁ can come out at or a little below zero.
    varies = (xx > 0) & (yy > 0)
    return torch.where(varies, xy / (xx * yy).sqrt(), torch.full_like(xy, torch.nan))


def estimate_hsic0(k: Tensor, ell: Tensor) -> Tensor:
    """The biased estimator of HSIC, up to a factor, from centred kernels (..., n, n)."""
    return (k * ell).sum((-2, -1))


def estimate_hsic1(k: Tensor, ell: Tensor) -> Tensor:
    """The unbiased estimator of HSIC from kernels (..., n, n): eq. 5 of Song et al. 2012.

    About 0 for independent outputs however many their features. Raises ValueError if n < 4.
    """
    n = k.shape[-1]
    if n < 4:
        raise ValueError(f"HSIC₁ needs at least 4 samples, not {n}")
    k, ell = _zero_diagonal(k), _zero_diagonal(ell)
    rows_k, rows_l = k.sum(-1), ell.sum(-1)
    trace = (k * ell).sum((-2, -1))
    sums = rows_k.sum(-1) * rows_l.sum(-1) / ((n - 1) * (n - 2))
    cross = 2 * (rows_k * rows_l).sum(-1) / (n - 2)
    return (trace + sums - cross) / (n * (n - 3))


def _zero_diagonal(kernel: Tensor) -> Tensor:
    """A kernel with zeros on its diagonal."""
    return kernel - torch.diag_embed(kernel.diagonal(dim1=-2, dim2=-1))
