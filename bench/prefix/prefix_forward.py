"""Faster forward pass for training steps with a frozen prefix.

Two options of a run, both off by default, replace the forward pass of the prefix. `fold_norms`
folds BatchNorm into the convolutions of the prefix. `cache_prefix` takes the outputs of the prefix
from a cache. Evaluation and the probes of a strategy always run the unchanged model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bench.batches.images import ImageBatches
from bench.batches.interface import AnyBatches
from bench.costs.flops import FlopModel
from bench.costs.freeze_state import FreezeState
from bench.errors import UserError
from bench.layers.discovery import Inputs, Layer
from bench.machine.torch_settings import disable_tf32
from bench.prefix.cache import MEBI, PrefixCache
from bench.prefix.cache_storage import CutTensors
from bench.prefix.cut_checks import check_cut, check_same
from bench.prefix.fold_batchnorm import fold_batchnorms, require_foldable
from bench.prefix.graph_split import Cut, Splitter
from bench.spec import Spec

CHECKED = 8  # samples on which a cut is compared with the model


class PrefixForward:
    """Forward pass of training steps, rebuilt when the frozen prefix changes.

    most_bytes: largest number of bytes that a cache had so far, by storage name.
    """

    def __init__(
        self,
        spec: Spec,
        model: nn.Module,
        layers: Sequence[Layer],
        flops: FlopModel,
        batches: AnyBatches,
        device: torch.device,
        folder: Path,
        autocast: Callable[[], AbstractContextManager[Any]],
    ) -> None:
        """Trace the model.

        Raises UserError if tracing fails, or if the data is texts or streamed images. Raises
        UserError if cache_prefix is on and the model does some work once per batch, or if
        fold_norms can fold none of the model's BatchNorms.
        """
        if not isinstance(batches, ImageBatches):
            raise UserError(
                f"{spec.label}: cache_prefix and fold_norms need image data that fits in memory; "
                "set both to false, or use images at a lower resolution"
            )
        if spec.cache_prefix and flops.has_costs_per_batch:
            raise UserError(
                f"{spec.label}: {spec.model} does some work once per batch, so the FLOPs that a "
                "cached prefix saves cannot be counted; set cache_prefix = false"
            )
        self._spec, self._model, self._batches = spec, model, batches
        self._device, self._folder, self._autocast = device, folder, autocast
        self._few = batches.prepare_unaugmented(torch.arange(min(CHECKED, batches.samples)))
        self._splitter = Splitter(model, layers, flops, self._few)
        if spec.fold_norms:
            require_foldable(model, self._splitter.graph, spec.label)
        self._cut: Cut | None = None
        self._cache: PrefixCache | None = None
        self.most_bytes: dict[str, int] = {}
        self.since = 0

    def enter(self, step: int) -> None:
        """Rebuild the forward pass for the layers that are frozen after `step` finished steps.

        If the prefix has not changed, its cache is kept.
        """
        cut = self._splitter.cut()
        if cut and self._cut and cut.nodes == self._cut.nodes:
            # Dropout may be off in more layers of the rest.
            self._cut = replace(cut, prefix=self._cut.prefix)
            return
        self.close()
        self.since, self._cut = step, cut
        if cut is None:
            return
        with self._autocast(), disable_tf32():
            check_cut(cut, self._model, self._few)
            if self._spec.fold_norms:
                before = self._get_cut_tensors(cut)
                fold_batchnorms(cut.prefix)
                check_same(
                    before, self._get_cut_tensors(cut), f"{self._spec.label}: the frozen prefix"
                )
        if self._spec.cache_prefix:
            spec = self._spec
            budgets = (spec.cache_device_mib, spec.cache_host_mib, spec.cache_disk_mib)
            self._cache = PrefixCache(
                self._batches.drawn_from,
                self._batches.indices,
                self._compute,
                (budgets[0] * MEBI, budgets[1] * MEBI, budgets[2] * MEBI),
                self._device,
                self._folder,
            )

    def resume(self, since: int, step: int) -> None:
        """Prepare the forward pass of a run that resumes at `step`.

        since: number of finished steps after which the current prefix was frozen.
        """
        self.enter(since)
        if self._cache:
            with self._autocast():
                self._cache.replay(since, step)

    def batch(self, step: int) -> tuple[Inputs, Tensor]:
        """Return the inputs and labels of a step.

        If the cache holds the outputs of the prefix for this step, the prefix does not read the
        images. Zeros then replace the images, unless the rest of the model reads them.
        """
        blank = (
            self._cut is not None
            and self._cache is not None
            and not self._cut.rest_reads_images
            and self._cache.has_rows(step)
        )
        return self._batches.make_blank_batch(step) if blank else self._batches.batch(step)

    def forward(self, step: int, inputs: Inputs, state: FreezeState) -> Any:
        """Return the model's output on the inputs of a step.

        Samples served from the cache are counted in `state`.
        """
        if self._cut is None:
            return self._model(*inputs)
        if self._cache is None:
            with torch.no_grad():
                cut_tensors = self._cut.prefix(*inputs)
        else:
            cut_tensors, reused = self._cache.serve(step)
            state.reused += reused
            state.prefix_exact, state.prefix_paper = self._cut.exact, self._cut.paper
        return self._cut.rest(*inputs, *(self._convert_layout(t) for t in cut_tensors))

    def count_kept_bytes(self) -> dict[str, int]:
        """Return `most_bytes`, updated with the present cache; empty if there was no cache."""
        now = self._cache.count_kept_bytes() if self._cache else {}
        for storage, count in now.items():
            self.most_bytes[storage] = max(count, self.most_bytes.get(storage, 0))
        return dict(self.most_bytes)

    def close(self) -> None:
        """Release the memory and files of the cache."""
        self.count_kept_bytes()
        if self._cache:
            self._cache.close()
        self._cache = None

    def _get_cut_tensors(self, cut: Cut) -> CutTensors:
        with torch.no_grad():
            cut_tensors: CutTensors = cut.prefix(*self._few)
        return cut_tensors

    def _compute(self, samples: Tensor) -> CutTensors:
        assert self._cut is not None
        with torch.no_grad():
            cut_tensors: CutTensors = self._cut.prefix(*self._batches.prepare_unaugmented(samples))
        return cut_tensors

    def _convert_layout(self, tensor: Tensor) -> Tensor:
        if self._spec.channels_last and tensor.dim() == 4:
            return tensor.contiguous(memory_format=torch.channels_last)
        return tensor
