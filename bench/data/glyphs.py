"""glyphs: letters drawn from the fonts that matplotlib ships; the source task and its variants.

Evaluation images use fonts that no training image uses. No digit is ever drawn.
"""

from __future__ import annotations

import hashlib
import string
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import matplotlib
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from bench.data.canvas import Look, paint
from bench.data.image_data import ImageData, Part, moments

RECIPE = 1  # raise it when a change of code changes the images
SHAPE = 24  # side of a letter before it is drawn
EVAL_DRAWS = 5000

SANS = ("DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-BoldOblique", "DejaVuSans-Oblique", "cmss10")
MONO = (
    "DejaVuSansMono",
    "DejaVuSansMono-Bold",
    "DejaVuSansMono-BoldOblique",
    "DejaVuSansMono-Oblique",
    "cmtt10",
)
SERIF = (
    "DejaVuSerif",
    "DejaVuSerif-Bold",
    "DejaVuSerif-BoldItalic",
    "DejaVuSerif-Italic",
    "STIXGeneral",
    "STIXGeneralBol",
    "STIXGeneralBolIta",
    "STIXGeneralItalic",
    "cmb10",
    "cmr10",
    "cmti10",
)
ALL = SANS + MONO + SERIF
MIXED = string.ascii_uppercase + "abdefghnqrt"  # lower case only where it differs in shape


PLAIN = Look()


@dataclass(frozen=True)
class Recipe:
    """Which letters and fonts, how many letters an image shows, how many draws, and the look."""

    letters: str = MIXED
    fonts: tuple[str, ...] = ALL
    slots: int = 1
    train_draws: int = 6400
    look: Look = PLAIN


RECIPES = {
    "": Recipe(),
    "upper": Recipe(letters=string.ascii_uppercase, train_draws=2560),
    "lower": Recipe(letters=string.ascii_lowercase, train_draws=2560),
    "few": Recipe(letters="ABEHKMRSXZ", train_draws=1280, look=Look(noise=0.2)),
    "noisy": Recipe(train_draws=2560, look=Look(noise=0.3)),
    "tilted": Recipe(train_draws=2560, look=Look(rotation=35.0, shear=0.4, stretch=0.3)),
    "barred": Recipe(train_draws=2560, look=Look(bars=2)),
    "serif": Recipe(fonts=SERIF, train_draws=2560),
    "mono": Recipe(fonts=MONO, letters=string.ascii_lowercase, train_draws=1280),
    "pairs": Recipe(letters="ACEHKMRSTX", slots=2, train_draws=2560, look=Look(noise=0.1)),
    "lowerpairs": Recipe(letters="abdeghnqrt", slots=2, train_draws=2560, look=Look(noise=0.1)),
}


def load(variant: str, resolution: int, evaluate_on: Part) -> ImageData:
    """Draw the fixed training set and 5,000 evaluation images of a variant ("" is the default)."""
    recipe = RECIPES[variant]
    fonts = split(recipe)
    train = fonts["train"] if evaluate_on == "validation" else fonts["train"] + fonts["validation"]
    images, labels = _draw(recipe, train, recipe.train_draws, resolution, seed=1)
    held, answers = _draw(
        recipe, fonts[evaluate_on], EVAL_DRAWS, resolution, seed=2 if evaluate_on == "test" else 3
    )
    classes = len(recipe.letters) ** recipe.slots
    name = f"glyphs:{variant}" if variant else "glyphs"
    return ImageData(name, classes, images, labels, held, answers, *moments(images), flip=False)


def fingerprint(variant: str) -> str:
    """Hash of the letters' bitmaps and of everything that is done to them."""
    recipe = RECIPES[variant]
    digest = hashlib.sha256(f"{RECIPE} {recipe} {SHAPE} {EVAL_DRAWS}".encode())
    for font in recipe.fonts:
        digest.update(_bitmaps(font, recipe.letters).numpy().tobytes())
    return digest.hexdigest()[:16]


def split(recipe: Recipe) -> dict[str, tuple[str, ...]]:
    """The recipe's fonts in disjoint train, validation and test parts (three, one and one of 5)."""
    return {
        "train": tuple(font for i, font in enumerate(recipe.fonts) if i % 5 not in (1, 3)),
        "validation": recipe.fonts[1::5],
        "test": recipe.fonts[3::5],
    }


@cache
def _bitmaps(font: str, letters: str) -> Tensor:
    """The letters as uint8 (len(letters), SHAPE, SHAPE), each filling its square's height."""
    path = Path(matplotlib.get_data_path(), "fonts", "ttf", f"{font}.ttf")
    face = ImageFont.truetype(str(path), 2 * SHAPE)
    return torch.stack([_bitmap(face, letter) for letter in letters])


def _bitmap(face: ImageFont.FreeTypeFont, letter: str) -> Tensor:
    left, top, right, bottom = (int(edge) for edge in face.getbbox(letter))
    side = max(right - left, bottom - top)
    image = Image.new("L", (side, side))
    corner = ((side - (right - left)) / 2 - left, (side - (bottom - top)) / 2 - top)
    ImageDraw.Draw(image).text(corner, letter, fill=255, font=face)
    small = image.resize((SHAPE, SHAPE), Image.Resampling.BOX)
    return torch.frombuffer(bytearray(small.tobytes()), dtype=torch.uint8).view(SHAPE, SHAPE)


def _draw(
    recipe: Recipe, fonts: tuple[str, ...], draws: int, resolution: int, seed: int
) -> tuple[Tensor, Tensor]:
    """Images and labels of a number of draws, all classes equally often, in random order."""
    generator = torch.Generator().manual_seed(seed)
    bitmaps = torch.stack([_bitmaps(font, recipe.letters) for font in fonts])
    count = len(recipe.letters)
    labels = torch.arange(draws) % count**recipe.slots
    labels = labels[torch.randperm(draws, generator=generator)]
    powers = count ** torch.arange(recipe.slots - 1, -1, -1)
    letters = labels[:, None] // powers % count
    picks = torch.randint(len(fonts), (draws, recipe.slots), generator=generator)
    shapes = bitmaps[picks, letters].float() / 255
    return paint(shapes, recipe.look, resolution, generator), labels
