"""digits10: scikit-learn's handwritten digits with jitter, colours and noise.

No digit of a test image appears in a training image. The split rotates with the seed, and five
folds test every digit once. Validation images use a part of the training digits. A run that is
evaluated on validation images does not train on these digits.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bench.data.images.dataset import ImageSet
from bench.data.images.image_data import ImageData, compute_moments
from bench.data.images.rendering import DrawingStyle, paint
from bench.data.interface.descriptor import Facts, hash_parts
from bench.data.interface.splits import Part
from bench.errors import UserError

FILE = "datasets/data/digits.csv.gz"  # inside the scikit-learn package
RECIPE = 2  # to be increased when a code change alters the images
CLASSES = 10
TRAIN_DRAWS = 3200
EVAL_REPEATS = 6  # evaluation images of each evaluation digit
LOOK = DrawingStyle(rotation=10.0, shift=0.05, contrast=0.3, noise=0.3)


class DigitSet(ImageSet):
    """Descriptor of the data set digits10."""

    folds = 5

    @property
    def summary(self) -> str:
        """Summary line for `freezebench list`."""
        return f"built in; {CLASSES} classes, {TRAIN_DRAWS:,} training images"

    def describe(self, root: Path | None) -> Facts:
        """Return the number of classes and of training images."""
        return Facts(CLASSES, TRAIN_DRAWS)

    def load(
        self, resolution: int, evaluate_on: Part, root: Path | None, fold: int = 0
    ) -> ImageData:
        """Draw the training images and the evaluation images of a fold.

        Evaluation images of one source digit form a cluster.
        """
        parts = split_digits(fold)
        train = parts["train"]
        if evaluate_on == "test":
            train = torch.cat([train, parts["validation"]])
        chosen, labels = _choose_training(train, seed=10 * fold + 1)
        images = _paint(chosen, resolution, seed=10 * fold + 4)
        held = parts[evaluate_on].repeat(EVAL_REPEATS)
        seed = 10 * fold + (2 if evaluate_on == "test" else 3)
        return ImageData(
            self.name,
            CLASSES,
            images,
            labels,
            _paint(held, resolution, seed),
            _load_source()[1][held],
            *compute_moments(images),
            flip=False,
            eval_sources=held[:, None],
        )

    def fingerprint(self, root: Path | None) -> str:
        """Return a hash of the source digits and of the recipe for drawing images from them."""
        images, labels = _load_source()
        text = f"{self.name} {RECIPE} {TRAIN_DRAWS} {EVAL_REPEATS} {self.folds} {LOOK.identity()}"
        return hash_parts([text.encode(), images.numpy().tobytes(), labels.numpy().tobytes()])


DATA_SETS = (DigitSet("digits10"),)


@lru_cache(maxsize=1)
def _load_source() -> tuple[Tensor, Tensor]:
    """Return the 1,797 digits, uint8 (N, 8, 8) from 0 to 16, and their int64 labels (N,).

    Reads the file in the scikit-learn package, which is faster than importing scikit-learn.
    Raises UserError if the file is missing.
    """
    package = find_spec("sklearn")
    path = Path(package.origin if package and package.origin else "").parent / FILE
    try:
        rows = np.loadtxt(path, delimiter=",", dtype=np.int64)
    except OSError as error:
        raise UserError(
            f"digits10: scikit-learn's file {path} cannot be read ({error}); run `pip install "
            "scikit-learn`"
        ) from None
    images = torch.from_numpy(rows[:, :-1]).to(torch.uint8).reshape(-1, 8, 8)
    return images, torch.from_numpy(rows[:, -1].copy())


def split_digits(fold: int) -> dict[str, Tensor]:
    """Return the indices of a fold's source digits in disjoint parts: train, validation, test.

    The validation digits are the test digits of the next fold.
    """
    folds = DigitSet.folds
    order = torch.randperm(len(_load_source()[1]), generator=torch.Generator().manual_seed(0))
    groups = [order[i::folds] for i in range(folds)]
    held = (fold, (fold + 1) % folds)
    train = torch.cat([group for i, group in enumerate(groups) if i not in held])
    return {"train": train, "validation": groups[held[1]], "test": groups[held[0]]}


def _choose_training(digits: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """Choose source digits for the training images, all classes equally often, in random order.

    digits: indices to choose from. Returns indices and labels, each (TRAIN_DRAWS,).
    """
    generator = torch.Generator().manual_seed(seed)
    truth = _load_source()[1]
    labels = torch.arange(TRAIN_DRAWS) % CLASSES
    labels = labels[torch.randperm(TRAIN_DRAWS, generator=generator)]
    chosen = torch.empty(TRAIN_DRAWS, dtype=torch.int64)
    for value in range(CLASSES):
        pool = digits[truth[digits] == value]
        here = torch.nonzero(labels == value)[:, 0]
        chosen[here] = pool[torch.randint(len(pool), (len(here),), generator=generator)]
    return chosen, labels


def _paint(digits: Tensor, resolution: int, seed: int) -> Tensor:
    """Draw one image of each source digit, given by its index."""
    shapes = _load_source()[0][digits][:, None].float() / 16
    return paint(shapes, LOOK, resolution, torch.Generator().manual_seed(seed))
