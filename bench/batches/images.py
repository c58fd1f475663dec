"""Batches of images in memory; the seed alone determines their order and augmentation.

The strategy has no influence, so two strategies with the same seed see the same samples. Each step
has its own random stream, so a resumed run needs no saved random state.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import torch
from torch import Tensor

from bench.batches.order import (
    EVALUATION_BATCH,
    count_usable_samples,
    draw_epoch_order,
    select_evaluated,
)
from bench.data.images.augmentation import NORMALISATIONS, Augment, augment, normalise
from bench.data.images.image_data import ImageData
from bench.data.interface.metrics import Metric
from bench.distributed.process_group import ALONE, ProcessGroup
from bench.errors import UserError
from bench.layers.discovery import Inputs
from bench.machine.to_device import move_to_device
from bench.seeds import derive_seed, make_generator
from bench.spec import Spec


class ImageBatches:
    """Batches of shuffled, augmented and normalised images; the training set is on the device.

    samples: number of training samples per epoch.
    drawn_from: number of samples of the training set.
    """

    def __init__(
        self, data: ImageData, spec: Spec, device: torch.device, group: ProcessGroup = ALONE
    ) -> None:
        self._images = data.train_images.to(device)
        self._labels = data.train_labels.to(device)
        self._eval_images, self._eval_labels = data.eval_images, data.eval_labels
        self.eval_sources = data.eval_sources
        self._spec, self._device, self._group = spec, device, group
        if spec.augment == "randaugment":
            raise UserError(
                f"{spec.label}: augment = 'randaugment' works only on streamed images, but this "
                "data set is loaded into memory; use 'standard'"
            )
        standard: Augment = "crop+flip" if data.flip else "crop"
        self._kind: Augment = "none" if spec.augment == "none" else standard
        mean, std = NORMALISATIONS.get(spec.normalisation, (data.mean, data.std))
        self._mean = torch.as_tensor(mean, dtype=torch.float32, device=device)
        self._std = torch.as_tensor(std, dtype=torch.float32, device=device)
        self._generator = torch.Generator()
        self._order = lru_cache(maxsize=2)(self._draw_order)
        self._indices = lru_cache(maxsize=2)(self._draw_indices)
        self.drawn_from = len(self._labels)  # an epoch may leave out a short last batch
        self.samples = count_usable_samples(self.drawn_from, spec.batch_size, group.size)
        self.steps_per_epoch = -(-self.samples // spec.batch_size)

    metric: Metric = "accuracy"

    def count_samples_by_size(self) -> dict[int, int]:
        """Return the number of samples of full training by image side in pixels.

        All images have the same side, so there is one entry.
        """
        return {self._spec.resolution: self.samples * self._spec.epochs}

    def batch(self, step: int) -> tuple[Inputs, Tensor]:
        """Return the inputs (B, 3, R, R) float32 and labels (B,) int64 of a step, counted from 0.

        In a run of several processes, these are the inputs and labels of this process.
        """
        chosen = self._order(step // self.steps_per_epoch)[self._locate_in_epoch(step)]
        self._generator.manual_seed(derive_seed(self._spec.seed, "augment", step))
        of, mine = len(chosen), self._group.share(len(chosen))
        chosen = chosen[mine]
        images = augment(self._images[chosen], self._kind, self._generator, mine.start, of)
        return self._prepare_inputs(images), self._labels[chosen]

    def make_blank_batch(self, step: int) -> tuple[Inputs, Tensor]:
        """Return zeros (B, 3, R, R), expanded from one value, and the labels (B,) of a step."""
        chosen = self._order(step // self.steps_per_epoch)[self._locate_in_epoch(step)]
        labels = self._labels[chosen[self._group.share(len(chosen))]]
        side = self._spec.resolution
        return (torch.zeros((), device=self._device).expand(len(labels), 3, side, side),), labels

    def indices(self, step: int) -> Tensor:
        """Return the indices of a step's samples, int64 (B,) on the CPU."""
        return self._indices(step // self.steps_per_epoch)[self._locate_in_epoch(step)]

    def prepare_unaugmented(self, samples: Tensor) -> Inputs:
        """Return the inputs of some samples without augmentation.

        samples: indices into the training set, int64 (B,) on the CPU.
        """
        return self._prepare_inputs(self._images[move_to_device(self._device, samples)])

    def evaluation(self, samples: int = 0) -> Iterator[tuple[Inputs, Tensor]]:
        """Yield this process's batches of the evaluation split, in order, without augmentation.

        samples: yield only this number of samples, balanced over the classes; 0 = all.
        """
        rank, size = self._group.rank, self._group.size
        for rows in select_evaluated(self._eval_labels, samples).split(EVALUATION_BATCH)[
            rank::size
        ]:
            images, labels = self._eval_images[rows], self._eval_labels[rows]
            yield self._prepare_inputs(images.to(self._device)), labels.to(self._device)

    def probe(self, samples: int) -> Inputs:
        """Return fixed, unaugmented training samples, the same for all strategies.

        The samples are also the same for all seeds, unless the seed chooses the fold of the data
        set.
        """
        return self.labelled_probe(samples)[0]

    def labelled_probe(self, samples: int) -> tuple[Inputs, Tensor]:
        """Return the inputs of `probe` and their labels (N,) int64."""
        drawn = torch.randperm(
            len(self._labels), generator=make_generator("probe", self._spec.data_name)
        )
        chosen = drawn[:samples].to(self._device)
        return self._prepare_inputs(self._images[chosen]), self._labels[chosen]

    def _locate_in_epoch(self, step: int) -> slice:
        """Return the slice of the epoch's order that holds the samples of a step."""
        first = step % self.steps_per_epoch * self._spec.batch_size
        return slice(first, min(first + self._spec.batch_size, self.samples))

    def _prepare_inputs(self, images: Tensor) -> Inputs:
        pixels = normalise(images, self._mean, self._std, self._spec.resolution)
        if self._spec.channels_last:
            pixels = pixels.contiguous(memory_format=torch.channels_last)
        return (pixels,)

    def _draw_order(self, epoch: int) -> Tensor:
        return move_to_device(self._device, self._draw_indices(epoch))

    def _draw_indices(self, epoch: int) -> Tensor:
        return draw_epoch_order(self._spec.seed, epoch, len(self._labels))
