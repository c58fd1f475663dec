"""Streams of image folders that are too large for memory; worker processes decode each batch.

Every random choice depends only on the seed, the epoch and the sample. Therefore neither the
number of workers nor resuming a run changes a pixel.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from bench.data.images.image_file import (
    ImageSource,
    Readable,
    check_images,
    load_fitted,
    open_image,
    refuse_hidden_pictures,
    refuse_low_values,
    to_tensor,
)
from bench.data.images.image_folder import (
    Listing,
    hold_out,
    limit_listing,
    list_images,
    read,
)
from bench.data.interface.splits import Part
from bench.errors import UserError
from bench.machine.environment import count_cores
from bench.seeds import derive_seed

AREA = (0.08, 1.0)  # share of the image that a training crop covers, as usual on ImageNet
ASPECT = (3 / 4, 4 / 3)
Decoder = Callable[[Readable, int], Tensor]  # of an image and its index
DECODED_FIRST = 64  # images of each part whose range of values is checked before training
WORKERS = min(4, count_cores())


class ImageStream:
    """Training and evaluation parts of an image folder, decoded batch by batch.

    Batches are uint8 images (B, 3, R, R) and int64 labels (B,).
    workers: number of processes that decode; 0 = decode in this process.
    held_share: share of training images to hold out with evaluate_on="validation".
    Raises UserError for unreadable images. If the header or the end of a file shows the fault, the
    error is raised at once. Other faults raise it when the batch is decoded.
    """

    def __init__(
        self,
        root: Path,
        *,
        resolution: int,
        evaluate_on: Part = "test",
        workers: int = WORKERS,
        held_share: float = 0.1,
        train_limit: int = 0,
    ) -> None:
        train = list_images(root, "train")
        if evaluate_on == "test":
            held = list_images(root, "val", train.classes)
        else:
            train, held = hold_out(train, held_share)
        if train_limit:
            train = limit_listing(train, train_limit)
        check_images([*train.paths, *held.paths])
        few = _select_few(train.paths)
        refuse_low_values(few)
        refuse_low_values([*few, *_select_few(held.paths)])
        refuse_hidden_pictures([*few, *_select_few(held.paths)])
        self._train, self._held = train, held
        self._resolution, self._workers = resolution, workers
        self.classes = len(train.classes)
        self.train_samples, self.eval_samples = len(train.paths), len(held.paths)

    def training(
        self,
        order: Tensor,
        batch_size: int,
        *,
        seed: int,
        epoch: int,
        start: int = 0,
        augment: str = "standard",
        share: Callable[[int], slice] = slice,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Return an iterator over the batches of an epoch, from batch `start` on.

        order: indices of the samples (N,).
        augment: "none" gives the centre of each image. Other values give a random crop of 8 % to
        100 % of the area, mirrored with probability 0.5. "randaugment" also applies two random
        operations.
        share: function from the size of a batch to the slice of it to return; by default the whole
        batch.
        """
        decode = self._choose_decoder(augment, seed, epoch)
        batches = [batch[share(len(batch))] for batch in _split(order.tolist(), batch_size)[start:]]
        # A DataLoader draws a seed from the global random stream when it starts. At the start of an
        # epoch this draw is part of the run, and dropout draws the numbers after it. If the run
        # resumes within an epoch, the draw is extra, so fork_rng restores the stream afterwards.
        with torch.random.fork_rng(devices=[], enabled=start > 0):
            return self._load_batches(self._train, batches, decode)

    def samples(self, chosen: Sequence[int]) -> Tensor:
        """Return the centres of some training images, uint8 (len(chosen), 3, R, R)."""
        return read([self._train.paths[i] for i in chosen], self._resolution)

    def labels(self, chosen: Sequence[int]) -> Tensor:
        """Return the labels of some training images, int64 (len(chosen),)."""
        return self._train.labels[torch.tensor(list(chosen), dtype=torch.int64)]

    @property
    def eval_labels(self) -> Tensor:
        """Labels of the evaluation images, int64 (eval_samples,)."""
        return self._held.labels

    def evaluation(
        self, batch_size: int, every: slice = slice(None), chosen: Tensor | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Return an iterator over the evaluation batches in order, of images cropped at the centre.

        every: slice that selects the batches to return.
        chosen: indices of the images to return; None = all.
        """
        decode = partial(_read_centre, resolution=self._resolution)
        rows = list(range(self.eval_samples)) if chosen is None else chosen.tolist()
        batches = _split(rows, batch_size)[every]
        return self._load_batches(self._held, batches, decode)

    def _choose_decoder(self, augment: str, seed: int, epoch: int) -> Decoder:
        """Return the function that decodes training images of an epoch."""
        if augment == "none":
            return partial(_read_centre, resolution=self._resolution)
        return partial(
            _read_random_crop,
            resolution=self._resolution,
            seed=seed,
            epoch=epoch,
            more=augment == "randaugment",
        )

    def _load_batches(
        self, split: Listing, batches: list[list[int]], decode: Decoder
    ) -> Iterator[tuple[Tensor, Tensor]]:
        return self._load(_Decoded(split, decode), batches)

    def _load(
        self, samples: Dataset[tuple[Tensor, int] | UserError], batches: Iterable[list[Any]]
    ) -> Iterator[tuple[Tensor, Tensor]]:
        loader = DataLoader(
            samples,
            batch_sampler=batches,
            num_workers=self._workers,
            persistent_workers=False,
            collate_fn=_collate,
        )
        return _Loading(iter(loader))


def _select_few(paths: Sequence[ImageSource]) -> Sequence[ImageSource]:
    return paths[:: max(1, len(paths) // DECODED_FIRST)]  # from all classes


def _split(order: list[int], size: int) -> list[list[int]]:
    return [order[i : i + size] for i in range(0, len(order), size)]


def _collate(samples: list[tuple[Tensor, int] | UserError]) -> tuple[Tensor, Tensor] | UserError:
    """Return images and labels of a batch, or the first error among its samples."""
    errors = [sample for sample in samples if isinstance(sample, UserError)]
    if errors:
        return errors[0]
    images, labels = default_collate(samples)
    return images, labels


class _Loading(Iterator[tuple[Tensor, Tensor]]):
    """Iterator over the batches of a DataLoader. It raises an error that comes in place of a batch.

    If the DataLoader's iterator is in a reference cycle, the garbage collector closes the queues of
    the worker processes before it deletes the iterator. The iterator then waits 5 s for each
    worker. A list outside the cycle therefore holds the iterator, and a finalizer empties the list.
    """

    def __init__(self, batches: Iterator[tuple[Tensor, Tensor] | UserError]) -> None:
        self._held = [batches]
        weakref.finalize(self, self._held.clear).atexit = False

    def __next__(self) -> tuple[Tensor, Tensor]:
        if not self._held:
            raise StopIteration
        batch = next(self._held[0])
        if isinstance(batch, UserError):
            self._held.clear()  # the traceback of the error would delay the end of the workers
            raise batch
        return batch


class _Decoded(Dataset[tuple[Tensor, int] | UserError]):
    """Samples of a listing, decoded by a function of path and index.

    An error is returned instead of raised, because a DataLoader adds a traceback to a raised error.
    """

    def __init__(self, split: Listing, decode: Decoder) -> None:
        self._paths, self._labels = split.paths, split.labels.tolist()
        self._decode = decode

    def __getitem__(self, index: int) -> tuple[Tensor, int] | UserError:
        try:
            return self._decode(self._paths[index], index), self._labels[index]
        except UserError as error:
            return error

    def __len__(self) -> int:
        return len(self._paths)


def _read_centre(path: Readable, index: int, *, resolution: int) -> Tensor:
    return load_fitted(path, resolution)


def _read_random_crop(
    path: Readable, index: int, *, resolution: int, seed: int, epoch: int, more: bool
) -> Tensor:
    """Return a random crop of the image, uint8 (3, R, R), mirrored with probability 0.5.

    The crop is drawn as in torchvision's RandomResizedCrop, except for the fallback of
    `_draw_crop_box`.
    more: also apply RandAugment (Cubuk et al. 2020).
    """
    image = open_image(path)
    generator = torch.Generator().manual_seed(derive_seed(seed, epoch, index))
    left, top, width, height = _draw_crop_box(image.width, image.height, generator)
    scaled = image.resize(
        (resolution, resolution),
        Image.Resampling.BILINEAR,
        box=(left, top, left + width, top + height),
    )
    if torch.rand((), generator=generator) < 0.5:
        scaled = scaled.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if more:
        with torch.random.fork_rng(devices=[]):  # RandAugment uses the global random stream
            torch.manual_seed(derive_seed(seed, epoch, index, "randaugment"))
            scaled = _make_rand_augment()(scaled)
    return to_tensor(scaled)


@lru_cache(maxsize=1)
def _make_rand_augment() -> Callable[[Image.Image], Image.Image]:
    """Return torchvision's RandAugment with two operations of magnitude 9 of 30, as DeiT uses."""
    from torchvision.transforms import v2

    policy: Callable[[Image.Image], Image.Image] = v2.RandAugment(num_ops=2, magnitude=9)
    return policy


def _draw_crop_box(
    width: int, height: int, generator: torch.Generator
) -> tuple[int, int, int, int]:
    """Draw left, top, width and height of a random crop.

    Returns the central square if ten draws do not fit into the image.
    """
    for _ in range(10):
        draw = torch.rand(2, generator=generator).tolist()
        area = width * height * (AREA[0] + (AREA[1] - AREA[0]) * draw[0])
        aspect = math.exp(math.log(ASPECT[0]) + math.log(ASPECT[1] / ASPECT[0]) * draw[1])
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            left = int(torch.randint(width - w + 1, (), generator=generator))
            top = int(torch.randint(height - h + 1, (), generator=generator))
            return left, top, w, h
    side = min(width, height)
    return (width - side) // 2, (height - side) // 2, side, side
