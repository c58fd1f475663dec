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

    weights: one tensor per layer. The optimizer updates its storage in place. If another storage
    replaces it (`model.to(memory_format=...)` does so), the sampler reads the same weights there.
    indices: one int64 (n,) per layer. They index the storage of the weight.
    """

    def __init__(self, weights: Sequence[Tensor], n: int, generator: torch.Generator) -> None:
        self._weights = list(weights)
        self._flat = [_flatten_weight(weight) for weight in weights]
        self._strides = [weight.stride() for weight in weights]
        self.indices = [
            draw_indices(weight.numel(), n, generator).to(weight.device) for weight in weights
        ]

    def take(self, layers: Sequence[int], out: Tensor) -> None:
        """Write the tailored weights of some layers into `out` (len(layers), n), on the device."""
        for row, layer in zip(out.unbind(), layers, strict=True):
            weight, indices = self._find_storage(layer), self.indices[layer]
            if weight.dtype == row.dtype:
                torch.index_select(weight, 0, indices, out=row)
            else:  # out= does not convert bfloat16 or float64
                row.copy_(weight.index_select(0, indices))

    def _find_storage(self, layer: int) -> Tensor:
        """Return the storage of a layer's weight, and adapt the indices if it was replaced."""
        weight, flat = self._weights[layer], self._flat[layer]
        if weight.data_ptr() == flat.data_ptr():
            return flat
        indices = self.indices[layer].to(weight.device)
        if weight.stride() != self._strides[layer]:
            indices = _find_positions(weight, self._strides[layer])[indices]
            self._strides[layer] = weight.stride()
        self.indices[layer] = indices
        self._flat[layer] = _flatten_weight(weight)
        return self._flat[layer]


def _find_positions(weight: Tensor, strides: Sequence[int]) -> Tensor:
    """Return where each element of a dense storage with other strides is in the weight's storage.

    strides: strides of the weight in the other storage. Returns int64 (number of elements,).
    """
    size, device = weight.numel(), weight.device
    numbers = torch.arange(size, device=device)
    before = torch.empty_strided(weight.shape, strides, dtype=torch.int64, device=device)
    _flatten_weight(before).copy_(numbers)
    after = torch.empty_strided(weight.shape, weight.stride(), dtype=torch.int64, device=device)
    positions = torch.empty_like(numbers)
    positions[_flatten_weight(after.copy_(before))] = numbers
    return positions


def _flatten_weight(weight: Tensor) -> Tensor:
    """Return a one-dimensional view of a dense weight, in memory order."""
    return weight.detach().as_strided((weight.numel(),), (1,), weight.storage_offset())
