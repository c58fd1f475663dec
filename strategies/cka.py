"""Centred kernel alignment: how alike two layers' outputs are on the same samples.

All sums run in float64. Outputs are (samples, features); features may differ in number.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor


def gram(x: Tensor) -> Tensor:
    """The linear kernel x xᵀ (n, n) of centred outputs x (n, p), in float64."""
    x = x.flatten(1).double()
    x = x - x.mean(0)
    return x @ x.T


def linear_cka(x: Tensor, y: Tensor) -> float:
    """Linear CKA of outputs x (n, p) and y (n, q): eq. 5 of SmartFRZ, features centred.

    Biased upwards where p or q is large against n. NaN if either does not vary.
    """
    n, p, q = len(x), x[0].numel(), y[0].numel()
    if max(p, q) > n:
        return biased_cka([(gram(x), gram(y))])
    x, y = (z.flatten(1).double() for z in (x, y))
    x, y = x - x.mean(0), y - y.mean(0)
    return float((y.T @ x).square().sum() / ((x.T @ x).norm() * (y.T @ y).norm()))


def biased_cka(grams: Iterable[tuple[Tensor, Tensor]]) -> float:
    """Eq. 5 from pairs of `gram`s, one a batch: terms are averaged over batches, then divided."""
    terms = [((k * ell).sum(), k.square().sum(), ell.square().sum()) for k, ell in grams]
    return _ratio(terms)


def unbiased_cka(grams: Iterable[tuple[Tensor, Tensor]]) -> float:
    """CKA with the unbiased estimator HSIC₁ (Song et al. 2012) from pairs of `gram`s.

    Terms are averaged over batches before the ratio (Nguyen et al. 2021). About 0 for independent
    outputs, at most 1 up to noise. Raises ValueError for batches of fewer than 4 samples.
    """
    terms = [(hsic1(k, ell), hsic1(k, k), hsic1(ell, ell)) for k, ell in grams]
    return _ratio(terms)


def hsic1(k: Tensor, ell: Tensor) -> Tensor:
    """The unbiased estimator of HSIC from kernels k and ell (n, n), n ≥ 4; eq. 5 of Song et al."""
    n = len(k)
    if n < 4:
        raise ValueError(f"HSIC₁ needs at least 4 samples, not {n}")
    k, ell = (kernel - torch.diag(kernel.diagonal()) for kernel in (k, ell))
    rows_k, rows_l = k.sum(0), ell.sum(0)
    trace = (k * ell).sum()
    sums = rows_k.sum() * rows_l.sum() / ((n - 1) * (n - 2))
    cross = 2 * (rows_k @ rows_l) / (n - 2)
    return (trace + sums - cross) / (n * (n - 3))


def _ratio(terms: list[tuple[Tensor, Tensor, Tensor]]) -> float:
    """Mean of the first terms over the root of the product of the means of the others."""
    xy, xx, yy = torch.tensor(terms, dtype=torch.float64).mean(0).tolist()
    # HSIC₁ of outputs that do not vary can come out a little below zero.
    return float(xy / (xx * yy) ** 0.5) if xx > 0 and yy > 0 else float("nan")
