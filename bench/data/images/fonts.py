"""Bitmaps of characters in the fonts that matplotlib ships.

Source tasks use SOURCE_FONTS only, and target tasks use TARGET_FONTS only. No model therefore sees
a font of a target task before fine-tuning.
"""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

SHAPE = 10  # side of a bitmap in pixels, about as coarse as the handwritten digits
FOLDER = "mpl-data/fonts/ttf"  # inside the matplotlib package

SOURCE_FONTS = (
    "STIXGeneral",
    "STIXGeneralBol",
    "cmb10",
    "cmss10",
    "STIXGeneralItalic",
    "cmr10",
    "cmtt10",
    "STIXGeneralBolIta",
    "cmti10",
)
PHONETIC_FONTS = tuple(font for font in SOURCE_FONTS if font.startswith("STIX"))
# Neighbours differ in family and style, so that every fifth font is a varied selection.
TARGET_FONTS = (
    "DejaVuSans",
    "DejaVuSans-Bold",
    "DejaVuSans-Oblique",
    "DejaVuSans-BoldOblique",
    "DejaVuSansMono",
    "DejaVuSansMono-Bold",
    "DejaVuSansMono-Oblique",
    "DejaVuSansMono-BoldOblique",
    "DejaVuSerif",
    "DejaVuSerif-Bold",
    "DejaVuSerif-Italic",
    "DejaVuSerif-BoldItalic",
)


@cache
def render_characters(font: str, characters: str) -> Tensor:
    """Return the characters as uint8 (len(characters), SHAPE, SHAPE).

    The longer side of each character has SHAPE pixels.
    """
    face = ImageFont.truetype(str(_find_folder() / f"{font}.ttf"), 2 * SHAPE)
    return torch.stack([_render_character(face, character) for character in characters])


@cache
def _find_folder() -> Path:
    """Return the folder of fonts in matplotlib's package.

    matplotlib is imported only if its package has no such folder.
    """
    package = find_spec("matplotlib")
    folder = Path(package.origin if package and package.origin else "").parent / FOLDER
    if not folder.is_dir():
        import matplotlib

        folder = Path(matplotlib.get_data_path(), "fonts", "ttf")
    return folder


def _render_character(face: ImageFont.FreeTypeFont, character: str) -> Tensor:
    left, top, right, bottom = (int(edge) for edge in face.getbbox(character))
    side = max(right - left, bottom - top)
    image = Image.new("L", (side, side))
    corner = ((side - (right - left)) / 2 - left, (side - (bottom - top)) / 2 - top)
    ImageDraw.Draw(image).text(corner, character, fill=255, font=face)
    small = image.resize((SHAPE, SHAPE), Image.Resampling.BOX)
    return torch.frombuffer(bytearray(small.tobytes()), dtype=torch.uint8).view(SHAPE, SHAPE)
