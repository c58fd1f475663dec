"""Similarity of the outputs of two layers on the same samples: CKA, and Egeria's plasticity.

Outputs have shape (samples, features). The two layers may differ in their number of features. All
sums are computed in float64.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor
from torch.nn import functional as F


def centre_features(x: Tensor) -> Tensor:
    """Return outputs (n, ...) as float64 (n, p), with the mean of each feature subtracted."""
    x = x.flatten(1).double()
    return x - x.mean(0)


def compute_gram(x: Tensor) -> Tensor:
    """Return the linear kernel x xᵀ (n, n) of outputs x (n, ...), in float64.

    The features of x are centred first.
    """
    x = centre_features(x)
    return x @ x.T


def compute_cka(
    grams: Iterable[tuple[Tensor, Tensor]], hsic: Callable[[Tensor, Tensor], Tensor]
) -> Tensor:
    """Return the CKA (...,) from pairs of kernels (..., n, n), one pair per batch of samples.

    hsic: `estimate_hsic0` for eq. 5 of SmartFRZ, `estimate_hsic1` for the unbiased form. Eq. 5 is
    biased upwards if an output has many features compared with n. For example, independent
    Gaussians with n = 200 and 4,096 features each have a CKA of 0.95. The bias grows as a batch
    shrinks, so pass a single pair of kernels of all samples for eq. 5.

    The HSIC values are averaged over the batches, and CKA is the ratio of the averages (Nguyen et
    al. 2021). An entry is NaN if an output does not vary.
    """
    terms = torch.stack(
        [torch.stack((hsic(k, ell), hsic(k, k), hsic(ell, ell))) for k, ell in grams]
    )
    xy, xx, yy = terms.mean(0)
    # HSIC₁ of an output that does not vary can be zero or slightly negative.
    varies = (xx > 0) & (yy > 0)
    return torch.where(varies, xy / (xx * yy).sqrt(), torch.full_like(xy, torch.nan))


def estimate_hsic0(k: Tensor, ell: Tensor) -> Tensor:
    """Return the biased estimate of HSIC (...,) from centred kernels (..., n, n).

    The constant factor 1 / (n − 1)² is left out, because it cancels in CKA.
    """
    return (k * ell).sum((-2, -1))


def estimate_hsic1(k: Tensor, ell: Tensor) -> Tensor:
    """Return the unbiased estimate of HSIC (...,) from kernels (..., n, n).

    The formula is eq. 5 of Song et al. 2012. The expected value for independent outputs is 0,
    whatever the number of features. Raises ValueError if n < 4.
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


def compute_plasticity(now: Tensor, then: Tensor) -> float:
    """Return the similarity-preserving loss between two outputs (b, features) of one layer.

    now, then: outputs on the same b samples. The sums are computed in float64. Source: Tung and
    Mori (2019), arXiv 1907.09682, eq. 4.
    """
    one, other = (F.normalize(x @ x.T, dim=1) for x in (now.double(), then.double()))
    return float((one - other).square().sum() / len(now) ** 2)


def _zero_diagonal(kernel: Tensor) -> Tensor:
    """Return a copy of a kernel with zeros on its diagonal."""
    return kernel - torch.diag_embed(kernel.diagonal(dim1=-2, dim2=-1))
