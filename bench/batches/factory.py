"""Construction of a run's batches from its spec."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import torch

from bench.batches.images import ImageBatches
from bench.batches.interface import AnyBatches
from bench.batches.streamed_images import StreamedBatches
from bench.batches.texts import TextBatches, make_text_batches
from bench.data.catalogue import find_fold, holds_texts, load, open_stream
from bench.data.images.image_data import ImageData
from bench.data.interface.splits import Part
from bench.distributed.process_group import ALONE, ProcessGroup
from bench.errors import UserError
from bench.models.compatibility import check_pair
from bench.spec import Spec


@lru_cache(maxsize=6)
def load_data(
    name: str, resolution: int, evaluate_on: Part, root: str, train_limit: int, fold: int = 0
) -> ImageData:
    """Return an image data set. Later runs in the same process reuse the loaded data."""
    return load(
        name,
        resolution=resolution,
        evaluate_on=evaluate_on,
        root=Path(root) if root else None,
        train_limit=train_limit,
        fold=fold,
    )


def make_batches(
    spec: Spec, device: torch.device, group: ProcessGroup = ALONE
) -> tuple[AnyBatches, int]:
    """Return the batches of a run and its number of classes.

    Image folders that do not fit in memory are streamed. Raises UserError for an unknown model, and
    for sequential reading of texts. Raises UserError if a text model is used on images, or an image
    model on texts.
    """
    part: Part = "test" if spec.evaluate_on == "test" else "validation"
    root = spec.paths.get("data", "")
    check_pair(spec.model, spec.data)
    if holds_texts(spec.data):
        if spec.sequential:
            raise UserError(
                f"{spec.label}: sequential reads tar shards of images, but this data set contains "
                "texts; set sequential = false"
            )
        return make_text_batches(spec, part, device, group)
    streamed = open_stream(
        spec.data,
        resolution=spec.resolution,
        evaluate_on=part,
        root=Path(root) if root else None,
        train_limit=spec.train_limit,
        workers=spec.data_workers,
        sequential=spec.sequential,
    )
    if streamed is not None:
        return StreamedBatches(streamed, spec, device, group), streamed.classes
    fold = find_fold(spec.data, spec.seed)
    data = load_data(spec.data, spec.resolution, part, root, spec.train_limit, fold)
    return ImageBatches(data, spec, device, group), data.classes


def count_batches(batches: AnyBatches, spec: Spec, processes: int = 1) -> dict[int, int]:
    """Return the number of batches of full training by input size.

    A batch that several processes share counts once for each of them. An input size is an image
    side in pixels, or a padded text length in tokens.
    """
    if isinstance(batches, TextBatches):
        return {size: count * processes for size, count in batches.count_batches().items()}
    steps = spec.epochs * batches.steps_per_epoch
    return dict.fromkeys(batches.count_samples_by_size(), steps * processes)  # images have one size
