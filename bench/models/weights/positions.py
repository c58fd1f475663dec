"""Resampling of position embeddings from another resolution."""

from __future__ import annotations

import math

from timm.layers import resample_abs_pos_embed
from torch import Tensor


def needs_resampling(key: str, given: Tensor, own: Tensor) -> bool:
    """Return whether two tensors are position embeddings that differ only in grid size.

    Their shape is (1, prefix + side², width).
    """
    if not key.endswith(("pos_embed", "pos_embedding")) or given.shape == own.shape:
        return False
    same = given.ndim == own.ndim == 3 and given.shape[2] == own.shape[2]
    return same and _get_grid(given)[0] == _get_grid(own)[0]


def resample_positions(given: Tensor, own: Tensor) -> Tensor:
    """Return the position embeddings `given`, interpolated to the grid of `own`."""
    prefix, side = _get_grid(own)
    fitted: Tensor = resample_abs_pos_embed(given.float(), [side, side], num_prefix_tokens=prefix)
    return fitted


def _get_grid(positions: Tensor) -> tuple[int, int]:
    """Return the number of prefix tokens and the side of the square grid after them."""
    side = math.isqrt(positions.shape[1])
    return positions.shape[1] - side**2, side
