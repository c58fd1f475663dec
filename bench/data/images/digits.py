"""digits10 and digits100: scikit-learn's handwritten digits with jitter, colours and noise.

An image of digits10 shows one digit. An image of digits100 shows two side by side (class =
10 x left + right). Test images use digits that no training image uses. Validation images use a part
of the training digits, which training then leaves out.
"""

from __future__ import annotations

from dataclasses import dataclass
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
RECIPE = 1  # to be increased when a code change alters the images
TEST_SHARE = 0.3
VALIDATION_SHARE = 0.2
EVAL_DRAWS = 5000


@dataclass(frozen=True)
class DigitsRecipe:
    """Number of digits per image, number of training images, and drawing style."""

    slots: int
    train_draws: int
    look: DrawingStyle

    def identity(self) -> str:
        """Return the text that the fingerprint hashes; it must not change, or run ids change."""
        return (
            f"Recipe(slots={self.slots!r}, train_draws={self.train_draws!r}, "
            f"look={self.look.identity()})"
        )


RECIPES = {
    "digits10": DigitsRecipe(slots=1, train_draws=1280, look=DrawingStyle(noise=0.2)),
    "digits100": DigitsRecipe(slots=2, train_draws=1920, look=DrawingStyle(noise=0.1)),
}


class DigitSet(ImageSet):
    """digits10 or digits100."""

    @property
    def summary(self) -> str:
        """Summary line for `freezebench list`."""
        facts = self.describe(None)
        return f"embedded; {facts.classes} classes, {facts.train_samples:,} training images"

    def describe(self, root: Path | None) -> Facts:
        """Return the number of classes and of training images."""
        recipe = RECIPES[self.name]
        return Facts(10**recipe.slots, recipe.train_draws)

    def load(self, resolution: int, evaluate_on: Part, root: Path | None) -> ImageData:
        """Draw the fixed training set and 5,000 evaluation images."""
        return _load(self.name, resolution, evaluate_on)

    def fingerprint(self, root: Path | None) -> str:
        """Return a hash of the source digits and of the recipe for drawing images from them."""
        images, labels = _load_source()
        text = (
            f"{self.name} {RECIPE} {RECIPES[self.name].identity()} {TEST_SHARE} "
            f"{VALIDATION_SHARE} {EVAL_DRAWS}"
        )
        return hash_parts([text.encode(), images.numpy().tobytes(), labels.numpy().tobytes()])


DATA_SETS = tuple(DigitSet(name) for name in RECIPES)


def _load(name: str, resolution: int, evaluate_on: Part) -> ImageData:
    recipe = RECIPES[name]
    parts = split()
    train = parts["train"]
    if evaluate_on == "test":
        train = torch.cat([train, parts["validation"]])
    images, labels = _draw(recipe, train, recipe.train_draws, resolution, seed=1)
    held, answers = _draw(
        recipe, parts[evaluate_on], EVAL_DRAWS, resolution, seed=2 if evaluate_on == "test" else 3
    )
    return ImageData(
        name, 10**recipe.slots, images, labels, held, answers, *compute_moments(images), flip=False
    )


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
        raise UserError(f"digits: {path} cannot be read ({error}); install scikit-learn") from None
    images = torch.from_numpy(rows[:, :-1]).to(torch.uint8).reshape(-1, 8, 8)
    return images, torch.from_numpy(rows[:, -1].copy())


def split() -> dict[str, Tensor]:
    """Return the indices of the source digits in the disjoint train, validation and test parts."""
    order = torch.randperm(len(_load_source()[1]), generator=torch.Generator().manual_seed(0))
    tests = int(TEST_SHARE * len(order))
    held = int(VALIDATION_SHARE * len(order))
    return {
        "test": order[:tests],
        "validation": order[tests : tests + held],
        "train": order[tests + held :],
    }


def _draw(
    recipe: DigitsRecipe, digits: Tensor, draws: int, resolution: int, seed: int
) -> tuple[Tensor, Tensor]:
    """Draw images and labels in random order, all classes equally often.

    digits: indices of the source digits to use. draws: number of images.
    """
    generator = torch.Generator().manual_seed(seed)
    images, labels = _load_source()
    classes = 10**recipe.slots
    wanted = torch.arange(draws) % classes
    wanted = wanted[torch.randperm(draws, generator=generator)]
    chosen = torch.empty(draws, recipe.slots, dtype=torch.int64)
    for slot in range(recipe.slots):
        digit = wanted // 10 ** (recipe.slots - 1 - slot) % 10
        for value in range(10):
            pool = digits[labels[digits] == value]
            here = torch.nonzero(digit == value)[:, 0]
            picks = torch.randint(len(pool), (len(here),), generator=generator)
            chosen[here, slot] = pool[picks]
    shapes = images[chosen].float() / 16
    return paint(shapes, recipe.look, resolution, generator), wanted
