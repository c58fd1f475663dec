"""Batches of images that do not fit in memory; worker processes decode them.

As in `bench.batches.images`, the seed alone determines order and augmentation, and a resumed run
sees the same pixels.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from bench.batches.order import (
    EVALUATION_BATCH,
    count_usable_samples,
    draw_epoch_order,
    select_evaluated,
)
from bench.data.images.augmentation import NORMALISATIONS, normalise
from bench.data.images.image_data import compute_moments
from bench.data.images.streaming import ImageStream
from bench.data.interface.metrics import Metric
from bench.distributed.process_group import ALONE, ProcessGroup
from bench.layers.discovery import Inputs
from bench.machine.to_device import move_to_device
from bench.seeds import make_generator
from bench.spec import Spec

STATISTICS_SAMPLES = 512  # training images for computing mean and standard deviation


class StreamedBatches:
    """Batches of shuffled, augmented and normalised images, decoded when needed."""

    def __init__(
        self, stream: ImageStream, spec: Spec, device: torch.device, group: ProcessGroup = ALONE
    ) -> None:
        self._stream, self._spec, self._device, self._group = stream, spec, device, group
        if spec.normalisation == "data":
            mean, std = compute_moments(stream.samples(self._draw_probe(STATISTICS_SAMPLES)))
        else:
            mean, std = (torch.tensor(v) for v in NORMALISATIONS[spec.normalisation])
        self._mean, self._std = mean.to(device), std.to(device)
        self.samples = count_usable_samples(stream.train_samples, spec.batch_size, group.size)
        self.steps_per_epoch = -(-self.samples // spec.batch_size)
        self._epoch: Iterator[tuple[Tensor, Tensor]] = iter(())
        self._next = -1

    metric: Metric = "accuracy"
    eval_sources: Tensor | None = None

    def count_samples_by_size(self) -> dict[int, int]:
        """Return the number of samples of full training by image side in pixels.

        All images have the same side, so there is one entry.
        """
        return {self._spec.resolution: self.samples * self._spec.epochs}

    def batch(self, step: int) -> tuple[Inputs, Tensor]:
        """Return the inputs (B, 3, R, R) float32 and labels (B,) int64 of a step, counted from 0.

        In a run of several processes, these are the inputs and labels of this process.
        """
        epoch, within = divmod(step, self.steps_per_epoch)
        if step != self._next or within == 0:
            order = draw_epoch_order(self._spec.seed, epoch, self._stream.train_samples)
            self._epoch = self._stream.training(
                order[: self.samples],
                self._spec.batch_size,
                seed=self._spec.seed,
                epoch=epoch,
                start=within,
                augment=self._spec.augment,
                share=self._group.share,
            )
        self._next = step + 1
        images, labels = next(self._epoch)
        return self._prepare_inputs(images), move_to_device(self._device, labels)

    def evaluation(self, samples: int = 0) -> Iterator[tuple[Inputs, Tensor]]:
        """Yield this process's batches of the evaluation split, in order, without augmentation.

        samples: yield only this number of samples, balanced over the classes; 0 = all.
        """
        every = slice(self._group.rank, None, self._group.size)
        chosen = select_evaluated(self._stream.eval_labels, samples)
        for images, labels in self._stream.evaluation(EVALUATION_BATCH, every, chosen):
            yield self._prepare_inputs(images), move_to_device(self._device, labels)

    def probe(self, samples: int) -> Inputs:
        """Return fixed, unaugmented training samples, the same for all seeds and strategies."""
        return self._prepare_inputs(self._stream.samples(self._draw_probe(samples)))

    def labelled_probe(self, samples: int) -> tuple[Inputs, Tensor]:
        """Return the inputs of `probe` and their labels (N,) int64."""
        labels = self._stream.labels(self._draw_probe(samples))
        return self.probe(samples), move_to_device(self._device, labels)

    def _draw_probe(self, samples: int) -> list[int]:
        count = self._stream.train_samples
        drawn = torch.randperm(count, generator=make_generator("probe", self._spec.data_name))
        return [int(i) for i in drawn[:samples]]

    def _prepare_inputs(self, images: Tensor) -> Inputs:
        pixels = normalise(move_to_device(self._device, images), self._mean, self._std)
        if self._spec.channels_last:
            pixels = pixels.contiguous(memory_format=torch.channels_last)
        return (pixels,)
