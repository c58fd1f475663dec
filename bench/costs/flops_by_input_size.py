"""What a sample costs in FLOPs where batches differ in size: texts do in length, images do not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from bench.costs.flops import FlopModel


@dataclass(frozen=True)
class FlopsBySize:
    """FLOPs of one model at every size that a run meets.

    at: the FLOPs per sample at a size (side of the images, length of the padded texts), counted
    once for each. samples: how many samples of full training have each size.
    """

    at: Callable[[int], FlopModel]
    samples: Mapping[int, int]

    @property
    def varies(self) -> bool:
        """Whether there is more than one size."""
        return len(self.samples) > 1

    @cached_property
    def mean(self) -> FlopModel:
        """FLOPs per sample on the average of full training; times its samples, their exact sum."""
        shares = list(self.samples.items())
        if len(shares) == 1:
            return self.at(shares[0][0])
        total = sum(self.samples.values())
        models = [(self.at(size), samples / total) for size, samples in shares]
        first, _ = models[0]
        # The graph has the same products at every size; only their extents differ.
        products = tuple(
            replace(product, flops=sum(m.products[i].flops * share for m, share in models))
            for i, product in enumerate(first.products)
        )
        forward = tuple(
            sum(m.forward[i] * share for m, share in models) for i in range(len(first.forward))
        )
        return FlopModel(forward, products)
