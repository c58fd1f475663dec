"""Similarity (CKA) of each layer of a run to the same layer of a fully trained reference."""

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
    """Kernels of a reference's layer outputs on a fixed probe, computed once.

    samples: number of training samples in the probe, processed in batches of `batch` (at least 4).
    flops: FLOPs spent so far on forward passes and on kernels.
    Raises UserError if the reference's file is missing, damaged or belongs to another model.
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
            raise UserError(
                f"{path}: its weights do not fit this model ({first}); give a reference of the "
                "same model"
            ) from None

    def cka(self, view: View, layers: Sequence[int]) -> Tensor:
        """Return the CKA of some layers with the reference: float64 (2, len(layers)) on the CPU.

        Row 0 uses the unbiased estimator HSIC₁. Row 1 is eq. 5 of SmartFRZ. An entry is NaN if the
        output of the layer does not vary over the samples.
        """
        own = [self._compute_kernels(view, batch, layers) for batch in self._batches]
        references = [[grams[i] for i in layers] for grams in self._grams]
        values = torch.full((2, len(layers)), torch.nan, dtype=torch.float64)
        # The output of a position embedding has one row per position, not per sample, so kernels
        # differ in size. Stack only kernels of equal size.
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
        """Return the kernel (n, n) of each layer's outputs on one batch of n samples."""
        outputs = view.outputs(batch, state)
        if len(outputs) != len(view.layers):
            raise UserError(
                f"CKA needs the output of all {len(view.layers)} layers, but this model exposes "
                f"only {len(outputs)}; choose a strategy without CKA"
            )
        chosen = [outputs[i] for i in layers]
        n = len(batch[0])
        self.flops += view.flops.exact().forward * n
        self.flops += sum(2.0 * n * output.numel() for output in chosen)
        return [compute_gram(output) for output in chosen]


def load_reference(path: Path) -> dict[str, Tensor]:
    """Return the state dict in a safetensors file; raises UserError if it cannot be read."""
    try:
        return dict(load_file(path))
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path}: cannot read the reference model: {error}") from None


def _split_batches(probe: Inputs, size: int) -> Iterator[Inputs]:
    """Yield the probe in batches of `size`, without a last batch of fewer than 4 samples.

    Raises UserError if the probe has fewer than 4 samples, the minimum of the unbiased HSIC.
    """
    count = len(probe[0])
    if count < 4:
        raise UserError(
            f"CKA needs at least 4 training samples, but there are {count}; increase train_limit"
        )
    for start in range(0, count, size):
        if min(size, count - start) >= 4:
            yield tuple(part[start : start + size] for part in probe)
