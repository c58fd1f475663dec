"""Which weights of a layer stand for it: n of them, drawn once and followed to the end."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def draw_indices(size: int, n: int, generator: torch.Generator) -> Tensor:
    """Draw n places in a tensor of `size` weights: int64 (n,), in ascending order.

    Without replacement, or with it where the layer has fewer than n weights.
    """
    if size < n:
        drawn = torch.randint(size, (n,), generator=generator)
    elif size <= 32 * n:
        drawn = torch.randperm(size, generator=generator)[:n]
    else:
        # A permutation of a hundred million weights would take seconds. Of 2 n draws from so
        # many, a thirty-second part at the very most is expected to repeat an earlier one.
        drawn = torch.randint(size, (2 * n,), generator=generator).unique()
        drawn = drawn[torch.randperm(len(drawn), generator=generator)[:n]]
    return drawn.sort().values


class Tailor:
    """Takes the same n weights of every layer's weight tensor at every snapshot.

    weights: one tensor a layer, whose storage the optimizer updates in place.
    """

    def __init__(self, weights: Sequence[Tensor], n: int, generator: torch.Generator) -> None:
        self._flat = [_flatten_weight(weight) for weight in weights]
        self.indices = [
            draw_indices(weight.numel(), n, generator).to(weight.device) for weight in weights
        ]

    def take(self, layers: Sequence[int], out: Tensor) -> None:
        """Write a snapshot of some layers into `out` (len(layers), n), on the device."""
        for row, layer in zip(out.unbind(), layers, strict=True):
            torch.index_select(self._flat[layer], 0, self.indices[layer], out=row)


def _flatten_weight(weight: Tensor) -> Tensor:
    """All of a dense weight in one dimension, in the order of memory, without a copy."""
    return weight.as_strided((weight.numel(),), (1,), weight.storage_offset())
