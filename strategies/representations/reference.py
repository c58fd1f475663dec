"""How alike each layer of a run is to the same layer of a fully trained reference model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from bench.errors import UserError
from bench.layers.discovery import Inputs
from strategies.base import View
from strategies.representations.similarity import (
    compute_cka,
    compute_gram,
    estimate_hsic0,
    estimate_hsic1,
)


class Reference:
    """The reference's activations on a fixed probe, computed once, to compare a run with.

    samples: size of the probe, taken in batches of `batch` samples (at least 4).
    flops: FLOPs spent so far, on forward passes and on kernels.
    Raises UserError if the reference's file is missing, broken or of another model.
    """

    def __init__(self, view: View, samples: int, batch: int) -> None:
        self.flops = 0.0
        probe = view.probe(samples)
        self._batches = list(_split_batches(probe, batch))
        path = view.artifacts["reference"]
        state = load_reference(path)
        everyone = range(len(view.layers))
        try:
            self._grams = [
                self._compute_kernels(view, batch, everyone, state) for batch in self._batches
            ]
        except (RuntimeError, KeyError) as error:
            first = str(error).strip().splitlines()[0]
            raise UserError(f"{path}: not a reference for this model: {first}") from None

    def cka(self, view: View, layers: Sequence[int]) -> Tensor:
        """CKA of some layers with the reference: float64 (2, len(layers)) on the CPU.

        Row 0 is the unbiased form (HSIC₁), row 1 eq. 5.
        """
        own = [self._compute_kernels(view, batch, layers) for batch in self._batches]
        references = [[grams[i] for i in layers] for grams in self._grams]
        values = torch.full((2, len(layers)), torch.nan, dtype=torch.float64)
        # A table of positions has a row a position, not a sample: kernels of one size go together.
        for size in {len(kernel) for kernel in own[0]}:
            here = [i for i, kernel in enumerate(own[0]) if len(kernel) == size]
            pairs = [
                (torch.stack([a[i] for i in here]), torch.stack([b[i] for i in here]))
                for a, b in zip(own, references, strict=True)
            ]
            values[:, here] = torch.stack(
                (compute_cka(pairs, estimate_hsic1), compute_cka(pairs, estimate_hsic0))
            ).cpu()
        return values

    def _compute_kernels(
        self,
        view: View,
        batch: Inputs,
        layers: Sequence[int],
        state: dict[str, Tensor] | None = None,
    ) -> list[Tensor]:
        """The kernel (n, n) of each layer's outputs on one batch."""
        outputs = view.outputs(batch, state)
        if len(outputs) != len(view.layers):
            raise UserError("CKA needs an output of every layer, and this model hides some")
        chosen = [outputs[i] for i in layers]
        n = len(batch[0])
        self.flops += view.flops.exact().forward * n
        self.flops += sum(2.0 * n * output.numel() for output in chosen)
        return [compute_gram(output) for output in chosen]


def load_reference(path: Path) -> dict[str, Tensor]:
    """The state dict in a safetensors file; raises UserError if it cannot be read."""
    try:
        return dict(load_file(path))
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path}: cannot read the reference model: {error}") from None


def _split_batches(probe: Inputs, size: int) -> Iterator[Inputs]:
    """The probe in batches of `size`; a last one of fewer than 4 samples is dropped.

    Raises UserError if there are not even 4: unbiased HSIC has no estimate from fewer.
    """
    count = len(probe[0])
    if count < 4:
        raise UserError(f"CKA needs at least 4 training samples, and there are {count}")
    for start in range(0, count, size):
        if min(size, count - start) >= 4:
            yield tuple(part[start : start + size] for part in probe)
