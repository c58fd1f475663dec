"""symbols100: Greek and Cyrillic letters and signs, drawn in fonts that no source task uses.

No symbol resembles a Latin letter, a digit or another symbol. The correlation of two bitmaps,
averaged over the fonts, is below 0.75. The test fonts rotate with the seed, and five folds test
every font.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from bench.data.images.dataset import ImageSet
from bench.data.images.fonts import SHAPE, TARGET_FONTS, render_characters
from bench.data.images.image_data import ImageData, compute_moments
from bench.data.images.rendering import DrawingStyle, paint
from bench.data.interface.descriptor import Facts, hash_parts
from bench.data.interface.splits import Part

RECIPE = 1  # to be increased when a code change alters the images
GREEK = "ΔΞΣΦΨΩαβδεζηικλνπςστυφχω"
CYRILLIC = "ЂЉЊЋЏДЖЛЧШЩЪЫЬЭЮЯвгдзилмтфцчщъыюяђљњѣҐғҕҖҘҙҚҢҤҪҫҬҭҲҺӃӈӋӔӕ"
SIGNS = "£§©«¶»¿₦€₱₹∀∇∈∑√∞∠∩"
SYMBOLS = GREEK + CYRILLIC + SIGNS
TRAIN_DRAWS = 3200
EVAL_REPEATS = 8  # evaluation images of each symbol in each evaluation font
LOOK = DrawingStyle(noise=0.2)


class SymbolSet(ImageSet):
    """Descriptor of the data set symbols100."""

    folds = 5

    @property
    def summary(self) -> str:
        """Summary line for `freezebench list`."""
        return f"built in; {len(SYMBOLS)} classes, {TRAIN_DRAWS:,} training images"

    def describe(self, root: Path | None) -> Facts:
        """Return the number of classes and of training images."""
        return Facts(len(SYMBOLS), TRAIN_DRAWS)

    def load(
        self, resolution: int, evaluate_on: Part, root: Path | None, fold: int = 0
    ) -> ImageData:
        """Draw the training images and the evaluation images of a fold.

        Evaluation images of one font form a cluster.
        """
        parts = split_fonts(fold)
        fonts = parts["train"] + (parts["validation"] if evaluate_on == "test" else ())
        images, labels = _draw_training(fonts, resolution, seed=10 * fold + 1)
        seed = 10 * fold + (2 if evaluate_on == "test" else 3)
        held, answers, clusters = _draw_evaluation(parts[evaluate_on], resolution, seed)
        return ImageData(
            self.name,
            len(SYMBOLS),
            images,
            labels,
            held,
            answers,
            *compute_moments(images),
            flip=False,
            eval_sources=clusters,
        )

    def fingerprint(self, root: Path | None) -> str:
        """Return a hash of the symbols' bitmaps and of the recipe for drawing images from them."""
        bitmaps = (render_characters(font, SYMBOLS).numpy().tobytes() for font in TARGET_FONTS)
        text = (
            f"{RECIPE} {SYMBOLS} {TARGET_FONTS!r} {TRAIN_DRAWS} {EVAL_REPEATS} {SHAPE} "
            f"{LOOK.identity()}"
        )
        return hash_parts([text.encode(), *bitmaps])


DATA_SETS = (SymbolSet("symbols100"),)


def split_fonts(fold: int) -> dict[str, tuple[str, ...]]:
    """Return the fonts of a fold in disjoint parts: train, validation and test.

    The validation fonts are the test fonts of the next fold.
    """
    folds = SymbolSet.folds
    groups = [TARGET_FONTS[i::folds] for i in range(folds)]
    test, validation = groups[fold], groups[(fold + 1) % folds]
    train = tuple(font for font in TARGET_FONTS if font not in test + validation)
    return {"train": train, "validation": validation, "test": test}


def _draw_training(fonts: tuple[str, ...], resolution: int, seed: int) -> tuple[Tensor, Tensor]:
    """Draw images and labels in random order, all symbols equally often in random fonts."""
    generator = torch.Generator().manual_seed(seed)
    bitmaps = torch.stack([render_characters(font, SYMBOLS) for font in fonts])
    labels = torch.arange(TRAIN_DRAWS) % len(SYMBOLS)
    labels = labels[torch.randperm(TRAIN_DRAWS, generator=generator)]
    picks = torch.randint(len(fonts), (TRAIN_DRAWS,), generator=generator)
    return _paint(bitmaps[picks, labels], resolution, generator), labels


def _draw_evaluation(
    fonts: tuple[str, ...], resolution: int, seed: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Draw every symbol in every font equally often.

    Returns images, labels (N,) and clusters (N, 1): the number of the font of each image.
    """
    generator = torch.Generator().manual_seed(seed)
    bitmaps = torch.cat([render_characters(font, SYMBOLS) for font in fonts]).repeat(
        EVAL_REPEATS, 1, 1
    )
    labels = torch.arange(len(bitmaps)) % len(SYMBOLS)
    numbers = torch.tensor([TARGET_FONTS.index(font) for font in fonts])
    clusters = numbers.repeat_interleave(len(SYMBOLS)).repeat(EVAL_REPEATS)
    return _paint(bitmaps, resolution, generator), labels, clusters[:, None]


def _paint(bitmaps: Tensor, resolution: int, generator: torch.Generator) -> Tensor:
    return paint(bitmaps[:, None].float() / 255, LOOK, resolution, generator)
