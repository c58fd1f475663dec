"""Similarity (CKA) between each layer of a run and the same layer of a trained reference."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from bench.errors import UserError
from bench.files import get_utf8_path
from bench.layers.discovery import Inputs
from strategies.base import View
from strategies.representations.similarity import (
    compute_cka,
    compute_gram,
    estimate_hsic0,
    estimate_hsic1,
)


@dataclass(frozen=True)
class _Kernels:
    """Kernels of one layer: inner products of the centred outputs of each pair of samples.

    batches: kernel (n, n) of each batch of n samples.
    whole: kernel of all samples; None if it is not needed.
    """

    batches: tuple[Tensor, ...]
    whole: Tensor | None

    @property
    def rows(self) -> tuple[int, ...]:
        """Number of rows of the kernel of each batch."""
        return tuple(len(kernel) for kernel in self.batches)


class Reference:
    """Kernels of the reference's layer outputs on a fixed probe, computed once.

    samples: number of training samples in the probe, at least 4.
    batch: samples per batch, at least 4.
    biased: whether CKA by eq. 5 of SmartFRZ is needed too. Eq. 5 compares all samples with each
    other, so the outputs of all samples are in memory at once.
    flops: FLOPs spent so far on forward passes and on kernels.
    Raises UserError if the reference's file is missing, damaged or belongs to another model.
    """

    def __init__(self, view: View, samples: int, batch: int, biased: bool = False) -> None:
        self.flops = 0.0
        self._biased = biased
        probe = view.probe(samples)
        self._batches = list(_split_batches(probe, batch))
        path = view.artifacts["reference"]
        state = load_reference(path)
        try:
            self._kernels = self._compute_kernels(view, range(len(view.layers)), state)
        except (RuntimeError, KeyError) as error:
            # PyTorch has no class for weights that do not fit. Other errors, such as a device that
            # is out of memory, say nothing about the file.
            if isinstance(error, RuntimeError) and "loading state_dict" not in str(error):
                raise
            first = str(error).strip().splitlines()[0]
            raise UserError(
                f"{path}: its weights do not fit this model ({first}); give a reference of the "
                "same model"
            ) from None

    def cka(self, view: View, layers: Sequence[int]) -> Tensor:
        """Return the CKA of some layers with the reference: float64 (2, len(layers)) on the CPU.

        Row 0 uses the unbiased estimator HSIC₁, averaged over the batches. Row 1 is eq. 5 of
        SmartFRZ over all samples. Eq. 5 is not averaged over batches, because its bias grows as a
        batch shrinks. Row 1 is NaN unless `biased` was set. An entry is also NaN if the output of
        the layer does not vary over the samples.
        """
        own = self._compute_kernels(view, layers)
        references = [self._kernels[i] for i in layers]
        values = torch.full((2, len(layers)), torch.nan, dtype=torch.float64)
        # The output of a position embedding has one row per position, not per sample, so kernels
        # differ in size. Stack only kernels of equal size.
        for rows in {kernels.rows for kernels in own}:
            here = [i for i, kernels in enumerate(own) if kernels.rows == rows]
            pairs = [
                (
                    torch.stack([own[i].batches[b] for i in here]),
                    torch.stack([references[i].batches[b] for i in here]),
                )
                for b in range(len(rows))
            ]
            values[0, here] = compute_cka(pairs, estimate_hsic1).cpu()
            whole = [(a, b) for i in here if (a := own[i].whole) is not None
                     and (b := references[i].whole) is not None]  # fmt: skip
            if whole:
                ours, theirs = (torch.stack(kernels) for kernels in zip(*whole, strict=True))
                values[1, here] = compute_cka([(ours, theirs)], estimate_hsic0).cpu()
        return values

    def _compute_kernels(
        self, view: View, layers: Sequence[int], state: dict[str, Tensor] | None = None
    ) -> list[_Kernels]:
        """Return the kernels of the outputs of some layers on the probe, in the order of `layers`.

        state: state dict of the model to use; None for the current weights of the run.
        """
        if self._biased:
            outputs = [self._compute_outputs(view, batch, layers, state) for batch in self._batches]
            return [self._compare_all(parts) for parts in zip(*outputs, strict=True)]
        by_batch = []
        for batch in self._batches:  # the outputs of a batch are freed before the next one
            chosen = self._compute_outputs(view, batch, layers, state)
            self.flops += sum(2.0 * len(output) * output.numel() for output in chosen)
            by_batch.append([compute_gram(output) for output in chosen])
        return [_Kernels(kernels, None) for kernels in zip(*by_batch, strict=True)]

    def _compare_all(self, parts: Sequence[Tensor]) -> _Kernels:
        """Return the kernels of one layer: one for each batch, and one for all samples.

        parts: outputs (n, ...) of the layer on each batch.
        """
        outputs = torch.cat(list(parts))
        self.flops += 2.0 * len(outputs) * outputs.numel()
        whole = compute_gram(outputs)
        # HSIC₁ does not depend on the mean of the features, so blocks of `whole` serve as kernels.
        ends = list(accumulate(len(part) for part in parts))
        blocks = zip([0, *ends], ends, strict=False)
        return _Kernels(tuple(whole[begin:end, begin:end] for begin, end in blocks), whole)

    def _compute_outputs(
        self, view: View, batch: Inputs, layers: Sequence[int], state: dict[str, Tensor] | None
    ) -> list[Tensor]:
        """Return the outputs of some layers on one batch, in the order of `layers`.

        state: as for `_compute_kernels`.
        """
        outputs = view.outputs(batch, state)
        if len(outputs) != len(view.layers):
            raise UserError(
                f"CKA needs the output of all {len(view.layers)} layers, but this model exposes "
                f"only {len(outputs)}; choose a strategy without CKA"
            )
        self.flops += view.count_flops(batch).exact().forward * len(batch[0])
        return [outputs[i] for i in layers]


def load_reference(path: Path) -> dict[str, Tensor]:
    """Return the state dict in a safetensors file. Raise UserError if it cannot be read."""
    try:
        with get_utf8_path(path) as place:
            return dict(load_file(place))
    except (OSError, SafetensorError) as error:
        raise UserError(
            f"{path}: the reference model cannot be read ({error}); restore the file, or give "
            "another reference"
        ) from None


def _split_batches(probe: Inputs, size: int) -> Iterator[Inputs]:
    """Yield the probe in batches of `size` samples.

    If fewer than 4 samples are left at the end, they join the last batch. Raises UserError if the
    probe has fewer than 4 samples, the minimum of the unbiased HSIC.
    """
    count = len(probe[0])
    if count < 4:
        raise UserError(
            f"CKA needs at least 4 training samples, but there are {count}; increase train_limit"
        )
    starts = [start for start in range(0, count, size) if count - start >= 4]
    for start, end in zip(starts, [*starts[1:], count], strict=True):
        yield tuple(part[start:end] for part in probe)
