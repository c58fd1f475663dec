"""Catalogue of the data sets defined by the modules of bench/data/images/ and bench/data/texts/."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache, lru_cache
from pathlib import Path

from bench.data import images, texts
from bench.data.images.dataset import ImageSet
from bench.data.images.image_data import ImageData
from bench.data.images.streaming import ImageStream
from bench.data.interface.descriptor import DataSet, Facts
from bench.data.interface.splits import Part
from bench.data.texts.dataset import TextData, TextSet
from bench.errors import UserError
from bench.options import make_unknown_error


@cache
def list_data_sets() -> tuple[DataSet, ...]:
    """Return the descriptors of all data sets, images before texts."""
    return tuple(
        data_set
        for package in (images, texts)
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
        for data_set in getattr(importlib.import_module(module.name), "DATA_SETS", ())
    )


def find_data_set(name: str) -> DataSet:
    """Return the descriptor of a data set. Raises UserError for an unknown name."""
    for data_set in list_data_sets():
        if found := data_set.find(name):
            return found
    raise make_unknown_error("data set", name, [data_set.name for data_set in list_data_sets()])


def load(
    name: str,
    *,
    resolution: int,
    evaluate_on: Part = "test",
    root: Path | None = None,
    train_limit: int = 0,
    fold: int = 0,
) -> ImageData:
    """Load an image data set into memory (see ImageSet.load).

    train_limit > 0 keeps that many training images, balanced over the classes. Raises UserError
    for an unknown name, for a text data set, and for missing or damaged files.
    """
    data = _find_images(name).load(resolution, evaluate_on, root, fold)
    return data.limit(train_limit) if train_limit else data


def open_stream(
    name: str,
    *,
    resolution: int,
    evaluate_on: Part = "test",
    root: Path | None = None,
    train_limit: int = 0,
    workers: int = 0,
    sequential: bool = False,
) -> ImageStream | None:
    """Return an image data set as a stream, or None if all images fit in memory.

    The parameters are those of `ImageSet.stream`.
    """
    return _find_images(name).stream(
        resolution,
        evaluate_on,
        root,
        train_limit=train_limit,
        workers=workers,
        sequential=sequential,
    )


@lru_cache(maxsize=4)
def load_texts(name: str, evaluate_on: Part, root: str, train_limit: int) -> TextData:
    """Load a text data set.

    root: the data root; "" if there is none. train_limit > 0 keeps that many training texts,
    balanced over the classes.
    """
    data_set = find_data_set(name)
    assert isinstance(data_set, TextSet), f"{name} is an image data set"
    data = data_set.load(evaluate_on, Path(root) if root else None)
    return data.limit(train_limit) if train_limit else data


def find_fold(name: str, seed: int) -> int:
    """Return the number of the split that a run with this seed uses; 0 if the split is fixed."""
    data_set = find_data_set(name)
    return seed % data_set.folds if isinstance(data_set, ImageSet) else 0


def describe(name: str, root: str | Path | None = None) -> Facts:
    """Return the facts of a data set for runs that are evaluated on its test part."""
    return find_data_set(name).describe(Path(root) if root else None)


def holds_texts(name: str) -> bool:
    """Return whether a data set contains texts. Raises UserError for an unknown name."""
    return isinstance(find_data_set(name), TextSet)


def _find_images(name: str) -> ImageSet:
    found = find_data_set(name)
    if not isinstance(found, ImageSet):
        raise UserError(f"{name} is a text data set; give an image data set")
    return found
