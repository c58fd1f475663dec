"""Tests that 16-bit images with only 8-, 10- or 12-bit values are refused as nearly black."""

import numpy as np
import pytest
from PIL import Image

from bench.data import catalogue
from bench.data.images import image_folder
from bench.data.images.image_file import refuse_low_values
from bench.errors import UserError
from tests.bench.data.images.test_image_file import encode_png, encode_tiff, pack_12_bits

DRAW = np.random.default_rng(0)


def draw(root, largest, kind=np.uint16):
    """Write grey images of two classes with the largest value `largest`, and return the folder."""
    for split in ("train", "val"):
        for name in ("ant", "bee"):
            (root / split / name).mkdir(parents=True)
            for i in range(3):
                pixels = DRAW.integers(0, largest, (12, 12)).astype(kind)
                pixels[0, 0] = largest
                Image.fromarray(pixels).save(root / split / name / f"{i}.png")
    return root


def load(root, memory, monkeypatch, **how):
    """Load a folder in memory, or open it as a stream if memory is 0."""
    monkeypatch.setattr(image_folder, "MEMORY", memory)
    name = f"folder:{root}"
    if catalogue.open_stream(name, resolution=12, **how) is None:
        return catalogue.load(name, resolution=12, **how)
    return None


def one_line(ask):
    with pytest.raises(UserError, match="8 bits per channel") as caught:
        ask()
    assert str(caught.value).isprintable()
    return str(caught.value)


@pytest.mark.parametrize("memory", [0, 2**30])
def test_8_bit_values_in_16_bit_files_are_refused(memory, tmp_path, monkeypatch):
    draw(tmp_path, 200)
    message = one_line(lambda: load(tmp_path, memory, monkeypatch))
    assert "train/ant/0.png: holds values up to 200 of 65,535, but" in message
    assert "it would be blank" in message
    bright = DRAW.integers(0, 2**16, (12, 12)).astype(np.uint16)
    Image.fromarray(bright).save(tmp_path / "train/bee/2.png")  # now the others are dark images
    load(tmp_path, memory, monkeypatch)


@pytest.mark.parametrize("memory", [0, 2**30])
@pytest.mark.parametrize(("largest", "kind"), [(255, np.uint8), (3, np.uint8), (4096, np.uint16)])
def test_8_bit_files_and_larger_values_are_read(memory, largest, kind, tmp_path, monkeypatch):
    load(draw(tmp_path, largest, kind), memory, monkeypatch)


@pytest.mark.parametrize("memory", [0, 2**30])
@pytest.mark.parametrize(("largest", "levels"), [(510, 2), (1023, 4), (4095, 16)])
def test_values_of_10_or_12_bits_in_16_bit_files_are_refused(
    memory, largest, levels, tmp_path, monkeypatch
):
    message = one_line(lambda: load(draw(tmp_path, largest), memory, monkeypatch))
    assert f"up to {largest:,} of 65,535" in message
    assert f"so {levels} grey levels remain; rescale" in message


def test_values_are_compared_relative_to_the_range_of_their_file(tmp_path):
    """Accept a 16-bit file and a 12-bit file whose smaller values are brighter."""
    Image.fromarray(np.full((6, 8), 900, np.uint16)).save(tmp_path / "x.png")
    (tmp_path / "y.tif").write_bytes(encode_tiff(pack_12_bits(LOW + 400), 12))
    refuse_low_values([tmp_path / "x.png", tmp_path / "y.tif"])


@pytest.mark.parametrize("memory", [0, 2**30])
def test_a_single_file_of_low_values_is_found_in_either_part(memory, tmp_path, monkeypatch):
    draw(tmp_path, 255, np.uint8)
    Image.fromarray(np.zeros((12, 12), np.uint16)).save(tmp_path / "train/ant/1.png")
    load(tmp_path, memory, monkeypatch)  # black with any number of bits
    for part in ("train", "val"):
        path = tmp_path / part / "ant" / "2.png"
        low = DRAW.integers(1, 99, (12, 12)).astype(np.uint16)
        Image.fromarray(low).save(path)
        assert str(path) in one_line(lambda: load(tmp_path, memory, monkeypatch))
        path.unlink()


LOW = DRAW.integers(0, 200, (6, 8)).astype(np.uint16)
COLOUR = DRAW.integers(0, 200, (6, 8, 3)).astype(np.uint16)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (encode_png(COLOUR, 2), "up to 255 of 65,535"),
        (encode_png(np.stack([LOW, LOW], axis=2), 4), "up to 255 of 65,535"),
        (encode_tiff(LOW.tobytes(), 16, photometric=0), f"up to {LOW.max()} of 65,535"),
        (encode_tiff(pack_12_bits(LOW), 12), f"up to {LOW.max()} of 4,095"),
        (b"P5 8 6 65535\n" + LOW.astype(">u2").tobytes(), f"up to {LOW.max()} of 65,535"),
    ],
)
def test_low_values_are_found_in_every_kind_of_deep_image(content, words, tmp_path):
    (tmp_path / "x.png").write_bytes(content)
    assert words in one_line(lambda: refuse_low_values([tmp_path / "x.png"]))
    (tmp_path / "y.png").write_bytes(encode_png(COLOUR * 50, 2))
    refuse_low_values([tmp_path / "x.png", tmp_path / "y.png"])
