"""FLOPs of one model as a function of input size, because text batches differ in length."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from bench.costs.flops import FlopModel


@dataclass(frozen=True)
class FlopsBySize:
    """FLOPs of one model at every input size that a run uses.

    A size is the side of the images in pixels, or the length of the padded texts in tokens.
    at: function that returns the FLOPs at a size.
    samples, batches: number of samples and of batches per size, over full training.
    """

    at: Callable[[int], FlopModel]
    samples: Mapping[int, int]
    batches: Mapping[int, int]

    @property
    def varies(self) -> bool:
        """Whether the run uses more than one size."""
        return len(self.samples) > 1

    @cached_property
    def mean(self) -> FlopModel:
        """Mean FLOPs over full training.

        FLOPs per sample are weighted by the number of samples of each size. Fixed FLOPs are
        weighted by the number of batches of each size.
        """
        samples, batches = sum(self.samples.values()), sum(self.batches.values())
        if not self.varies:
            return self.at(next(iter(self.samples))).with_batch(samples / batches)
        models = [
            (self.at(size), count / samples, self.batches[size] / batches)
            for size, count in self.samples.items()
        ]
        first = models[0][0]
        # The graph has the same products at every size; only their shapes differ.
        products = tuple(
            replace(
                product,
                flops=sum(m.products[i].flops * share for m, share, _ in models),
                per_batch=sum(m.products[i].per_batch * share for m, _, share in models),
            )
            for i, product in enumerate(first.products)
        )
        forward, per_batch = (
            tuple(
                sum(getattr(m, part)[i] * shares[turn] for m, *shares in models)
                for i in range(len(getattr(first, part)))
            )
            for turn, part in enumerate(("forward", "per_batch"))
        )
        return FlopModel(forward, products, per_batch, samples / batches)
