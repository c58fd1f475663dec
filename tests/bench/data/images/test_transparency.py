"""Tests that images with content only in transparency are refused, as one colour would remain."""

import numpy as np
import pytest
from PIL import Image

from bench.data import catalogue
from bench.data.images import image_folder
from bench.data.images.image_file import refuse_hidden_pictures
from bench.errors import UserError

SHAPE = np.zeros((12, 12), np.uint8)
SHAPE[3:8, 2:9] = 200
PLAIN = np.full((12, 12), 90, np.uint8)


def save_palette(path):
    image = Image.fromarray(SHAPE // 200).convert("P")
    image.putpalette([9, 9, 9, 9, 9, 9])
    image.save(path, transparency=bytes([0, 255]))


SAVE = {
    "RGBA": lambda path: Image.fromarray(np.dstack([PLAIN, PLAIN, PLAIN, SHAPE])).save(path),
    "LA": lambda path: Image.fromarray(np.dstack([PLAIN, SHAPE])).save(path),
    "P": save_palette,
}


@pytest.mark.parametrize("mode", SAVE)
def test_a_picture_in_the_transparency_is_refused(mode, tmp_path):
    SAVE[mode](tmp_path / "x.png")
    with pytest.raises(UserError, match=r"x\.png: the picture is in the transp.*flatten") as caught:
        refuse_hidden_pictures([tmp_path / "x.png"])
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "pixels",
    [
        np.dstack([PLAIN, PLAIN, SHAPE, SHAPE]),  # the colour varies too
        np.dstack([PLAIN, PLAIN, PLAIN, PLAIN]),  # one colour, half transparent
        PLAIN,
    ],
)
def test_other_images_are_read(pixels, tmp_path):
    Image.fromarray(pixels).save(tmp_path / "x.png")
    refuse_hidden_pictures([tmp_path / "x.png"])


@pytest.mark.parametrize("memory", [0, 2**30])
@pytest.mark.parametrize("part", ["train", "val"])
def test_both_parts_are_searched_in_memory_and_in_streams(memory, part, tmp_path, monkeypatch):
    for split in ("train", "val"):
        for name in ("ant", "bee"):
            (tmp_path / split / name).mkdir(parents=True)
            Image.fromarray(SHAPE).save(tmp_path / split / name / "0.png")
    monkeypatch.setattr(image_folder, "MEMORY", memory)
    data = f"folder:{tmp_path}"

    def load():
        if catalogue.open_stream(data, resolution=12) is None:
            catalogue.load(data, resolution=12)

    load()
    SAVE["RGBA"](tmp_path / part / "bee" / "1.png")
    with pytest.raises(UserError, match=rf"{part}/bee/1\.png: the picture is in the transparency"):
        load()
