"""Tailoring (SmartFRZ): n weights that represent a layer, drawn once and kept for the whole run.

Differences from an existing implementation:

- That implementation draws new indices for every snapshot, so it follows no weight over time.
- It loops forever on a layer with fewer than n weights. Here the weights of this layer are drawn
  with replacement.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def draw_indices(size: int, n: int, generator: torch.Generator) -> Tensor:
    """Draw n indices into a tensor of `size` weights: int64 (n,), in ascending order.

    Indices are drawn without replacement if size ≥ n, otherwise with replacement.
    """
    if size < n:
        drawn = torch.randint(size, (n,), generator=generator)
    elif size <= 32 * n:
        drawn = torch.randperm(size, generator=generator)[:n]
    else:
        # A permutation of 1e8 weights would take seconds. Because size > 32 n, at most about 1/32
        # of 2 n draws are expected to repeat an earlier draw, so n distinct ones remain.
        drawn = torch.randint(size, (2 * n,), generator=generator).unique()
        drawn = drawn[torch.randperm(len(drawn), generator=generator)[:n]]
    return drawn.sort().values


class Tailor:
    """Sampler that reads the same n weights of every layer at every snapshot.

    weights: one tensor per layer, whose storage the optimizer updates in place.
    indices: one int64 (n,) per layer. They index the storage of the weight.
    """

    def __init__(self, weights: Sequence[Tensor], n: int, generator: torch.Generator) -> None:
        self._flat = [_flatten_weight(weight) for weight in weights]
        self.indices = [
            draw_indices(weight.numel(), n, generator).to(weight.device) for weight in weights
        ]

    def take(self, layers: Sequence[int], out: Tensor) -> None:
        """Write the tailored weights of some layers into `out` (len(layers), n), on the device."""
        for row, layer in zip(out.unbind(), layers, strict=True):
            weight, indices = self._flat[layer], self.indices[layer]
            if weight.dtype == row.dtype:
                torch.index_select(weight, 0, indices, out=row)
            else:  # out= does not convert bfloat16 or float64
                row.copy_(weight.index_select(0, indices))


def _flatten_weight(weight: Tensor) -> Tensor:
    """Return a one-dimensional view of a dense weight, in memory order."""
    return weight.as_strided((weight.numel(),), (1,), weight.storage_offset())
