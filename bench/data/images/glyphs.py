"""glyphs: letters drawn in matplotlib's fonts; the source task and its variants.

Evaluation images use fonts that no training image uses. No image shows a digit or a character of a
target task.
"""

from __future__ import annotations

import string
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from bench.data.images.dataset import ImageSet
from bench.data.images.fonts import PHONETIC_FONTS, SHAPE, SOURCE_FONTS, render_characters
from bench.data.images.image_data import ImageData, compute_moments
from bench.data.images.rendering import DrawingStyle, paint
from bench.data.interface.descriptor import Facts, hash_parts
from bench.data.interface.splits import Part

RECIPE = 2  # to be increased when a code change alters the images
EVAL_DRAWS = 2000
MIXED = string.ascii_uppercase + "abdefghnqrt"  # lower case only if its shape differs
CAPITALS = string.ascii_uppercase
SMALL = string.ascii_lowercase
# Letters of the phonetic alphabet, which the backbones have not seen.
PHONETIC = "ɐɑɒɓɔɕɖɗɘɚɜɝɞɠɡɢɣɤɧɩɭɮɰɱɲɳɴɵɷɸɹɻɾɿʀʁʂʉʌʍʎʏʐʑʒʓʔʕʖʗʘʙʚʛʞʟʠʣʤʥʦʧʨ"

# Images differ in noise, tilt, shift and contrast, so a backbone learns features that carry over.
VARIED = DrawingStyle(
    rotation=15.0, stretch=0.15, shear=0.15, shift=0.06, contrast=0.3, noise=0.35, noise_spread=0.35
)


@dataclass(frozen=True)
class GlyphsRecipe:
    """Letters, fonts, number of training images, and drawing style of a variant of glyphs.

    A class is a letter of `letters`. If `letters` is empty, a class is an ordered pair of letters
    of `pairs`.
    """

    letters: str = MIXED
    pairs: str = ""
    fonts: tuple[str, ...] = SOURCE_FONTS
    train_draws: int = 3200
    look: DrawingStyle = VARIED

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.letters) or len(self.pairs) ** 2

    def identity(self) -> str:
        """Return the text that the fingerprint hashes; it must not change, or run ids change."""
        return (
            f"letters={self.letters!r} pairs={self.pairs!r} fonts={self.fonts!r} "
            f"train_draws={self.train_draws!r} {self.look.identity()}"
        )


RECIPES = {
    # Source task for pretraining backbones.
    "": GlyphsRecipe(train_draws=12_800),
    "upper": GlyphsRecipe(letters=CAPITALS),
    "lower": GlyphsRecipe(letters=SMALL),
    "phonetic": GlyphsRecipe(letters=PHONETIC, fonts=PHONETIC_FONTS, look=DrawingStyle(noise=0.2)),
    "few": GlyphsRecipe(letters="ABEHKMRSXZ", train_draws=2400, look=DrawingStyle(noise=0.2)),
    "noisy": GlyphsRecipe(look=DrawingStyle(noise=0.3)),
    "tilted": GlyphsRecipe(look=DrawingStyle(rotation=25.0, shear=0.3, stretch=0.2)),
    "barred": GlyphsRecipe(look=DrawingStyle(bars=2)),
    "pairs": GlyphsRecipe(letters="", pairs="BDFGJLNPQU"),
    "lowerpairs": GlyphsRecipe(letters="", pairs="abdeghnqrt"),
}


class GlyphSet(ImageSet):
    """Variant of glyphs; the plain name is the source task on which backbones are pretrained."""

    @property
    def recipe(self) -> GlyphsRecipe:
        """Recipe for drawing its images."""
        return RECIPES[self.name.partition(":")[2]]

    @property
    def summary(self) -> str:
        """Summary line for `freezebench list`."""
        facts = self.describe(None)
        return f"built in; {facts.classes} classes, {facts.train_samples:,} training images"

    def describe(self, root: Path | None) -> Facts:
        """Return the number of classes and of training images."""
        return Facts(self.recipe.classes, self.recipe.train_draws)

    def load(
        self, resolution: int, evaluate_on: Part, root: Path | None, fold: int = 0
    ) -> ImageData:
        """Draw the fixed training set and 2,000 evaluation images."""
        return _load(self.name, self.recipe, resolution, evaluate_on)

    def fingerprint(self, root: Path | None) -> str:
        """Return a hash of the letters' bitmaps and of the recipe for drawing images from them."""
        recipe = self.recipe
        letters = recipe.letters + recipe.pairs
        bitmaps = (render_characters(font, letters).numpy().tobytes() for font in recipe.fonts)
        text = f"{RECIPE} {recipe.identity()} {SHAPE} {EVAL_DRAWS}"
        return hash_parts([text.encode(), *bitmaps])


DATA_SETS = tuple(GlyphSet("glyphs" + (f":{variant}" if variant else "")) for variant in RECIPES)


def _load(name: str, recipe: GlyphsRecipe, resolution: int, evaluate_on: Part) -> ImageData:
    fonts = split(recipe)
    train = fonts["train"] if evaluate_on == "validation" else fonts["train"] + fonts["validation"]
    images, labels, _ = _draw(recipe, train, recipe.train_draws, resolution, seed=1)
    held, answers, sources = _draw(
        recipe, fonts[evaluate_on], EVAL_DRAWS, resolution, seed=2 if evaluate_on == "test" else 3
    )
    return ImageData(
        name,
        recipe.classes,
        images,
        labels,
        held,
        answers,
        *compute_moments(images),
        flip=False,
        eval_sources=sources,
    )


def split(recipe: GlyphsRecipe) -> dict[str, tuple[str, ...]]:
    """Return the recipe's fonts in disjoint parts: 3/5 train, 1/5 validation and 1/5 test."""
    return {
        "train": tuple(font for i, font in enumerate(recipe.fonts) if i % 5 not in (1, 3)),
        "validation": recipe.fonts[1::5],
        "test": recipe.fonts[3::5],
    }


def _draw(
    recipe: GlyphsRecipe, fonts: tuple[str, ...], draws: int, resolution: int, seed: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Draw images, their labels (N,) and the numbers of their fonts (N, 1 or 2), in random order.

    draws: number of images. Each letter of a pair has its own font.
    """
    generator = torch.Generator().manual_seed(seed)
    letters, slots = (recipe.letters, 1) if recipe.letters else (recipe.pairs, 2)
    bitmaps = torch.stack([render_characters(font, letters) for font in fonts])
    classes = torch.arange(draws) % recipe.classes
    powers = len(letters) ** torch.arange(slots - 1, -1, -1)
    chosen = classes[:, None] // powers % len(letters)
    picks = torch.randint(len(fonts), (draws, slots), generator=generator)
    images = paint(bitmaps[picks, chosen].float() / 255, recipe.look, resolution, generator)
    numbers = torch.tensor([recipe.fonts.index(font) for font in fonts])
    order = torch.randperm(draws, generator=generator)
    return images[order], classes[order], numbers[picks[order]]
