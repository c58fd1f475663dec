"""FLOPs per sample as a function of input size; text batches differ in length."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from bench.costs.flops import FlopModel


@dataclass(frozen=True)
class FlopsBySize:
    """FLOPs of one model at every input size that a run uses.

    A size is the side of the images in pixels, or the length of the padded texts in tokens.
    at: function that returns the FLOPs per sample at a size.
    samples: number of samples per size, over full training.
    """

    at: Callable[[int], FlopModel]
    samples: Mapping[int, int]

    @property
    def varies(self) -> bool:
        """Whether the run uses more than one size."""
        return len(self.samples) > 1

    @cached_property
    def mean(self) -> FlopModel:
        """Mean FLOPs per sample over full training, weighted by the samples of each size."""
        shares = list(self.samples.items())
        if len(shares) == 1:
            return self.at(shares[0][0])
        total = sum(self.samples.values())
        models = [(self.at(size), samples / total) for size, samples in shares]
        first, _ = models[0]
        # The graph has the same products at every size; only their shapes differ.
        products = tuple(
            replace(product, flops=sum(m.products[i].flops * share for m, share in models))
            for i, product in enumerate(first.products)
        )
        forward = tuple(
            sum(m.forward[i] * share for m, share in models) for i in range(len(first.forward))
        )
        return FlopModel(forward, products)
