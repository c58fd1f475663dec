"""Tests of single image files: 8-bit pixels of every mode, odd shapes and damaged files."""

import io
import re
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from PIL import Image

from bench.data.images import image_file
from bench.data.images.image_file import check_images, load_fitted, open_image
from bench.data.images.shards.class_files import format_path
from bench.errors import UserError

GREY = np.random.default_rng(0).integers(0, 2**16, (6, 8), dtype=np.uint16)
RGB = np.random.default_rng(1).integers(0, 2**16, (6, 8, 3), dtype=np.uint16)


def encode_png(pixels, kind):
    """Return a PNG of 16 bits per sample; kind: its colour type."""

    def chunk(name, content):
        body = name + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    height, width = pixels.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)
    parts = (b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def encode_tiff(content, bits, photometric=1, sample_format=1, order="<"):
    """Return a grey TIFF of one strip that holds 8 × 6 samples."""
    tags = [(256, 8), (257, 6), (258, bits), (259, 1), (262, photometric), (273, 8), (277, 1),
            (278, 6), (279, len(content)), (339, sample_format)]  # fmt: skip
    entries = b"".join(struct.pack(f"{order}HHII", tag, 4, 1, value) for tag, value in tags)
    mark = b"II" if order == "<" else b"MM"
    start = struct.pack(f"{order}HI", 42, 8 + len(content))
    return mark + start + content + struct.pack(f"{order}H", len(tags)) + entries + bytes(4)


def encode_planar_tiff(pixels):
    """Return a colour TIFF that stores its three channels one after the other."""
    content = pixels.transpose(2, 0, 1).tobytes()
    bits = 8 * pixels.itemsize
    size = len(content) // 3
    tags = [(256, 8), (257, 6), (258, bits), (259, 1), (262, 2), (273, 8), (277, 3), (278, 6),
            (279, size), (284, 2)]  # fmt: skip
    after = 8 + len(content) + 2 + 12 * len(tags) + 4
    lists = {258: [bits] * 3, 273: [8, 8 + size, 8 + 2 * size], 279: [size] * 3}
    entries = rest = b""
    for tag, value in tags:
        if values := lists.get(tag):
            entries += struct.pack("<HHII", tag, 4, 3, after + len(rest))
            rest += struct.pack("<III", *values)
        else:
            entries += struct.pack("<HHII", tag, 4, 1, value)
    start = b"II" + struct.pack("<HI", 42, 8 + len(content))
    return start + content + struct.pack("<H", len(tags)) + entries + bytes(4) + rest


def pack_12_bits(values):
    pairs = values.reshape(-1, 2).astype(int)
    packed = np.stack(
        [pairs[:, 0] >> 4, (pairs[:, 0] & 15) << 4 | pairs[:, 1] >> 8, pairs[:, 1] & 255], axis=1
    )
    return packed.astype(np.uint8).tobytes()


def encode_pgm(largest):
    return (
        f"P5 8 6 {largest}\n".encode() + (GREY.astype(int) % (largest + 1)).astype(">u2").tobytes()
    )


def spread(largest):
    """Return the grey values modulo largest + 1, scaled to 0 … 65535 as in Pillow's PGM."""
    return np.round((GREY.astype(int) % (largest + 1)) / largest * 65535).astype(int)


JPEG2000 = io.BytesIO()
Image.fromarray(GREY).save(JPEG2000, "JPEG2000")
DEEP = {
    "grey.png": (encode_png(GREY, 0), GREY >> 8),
    "colour.png": (encode_png(RGB, 2), RGB >> 8),
    "alpha.png": (encode_png(np.stack([GREY, GREY[::-1]], axis=2), 4), GREY >> 8),
    "little.tif": (encode_tiff(GREY.tobytes(), 16), GREY >> 8),
    "big.tif": (encode_tiff(GREY.astype(">u2").tobytes(), 16, order=">"), GREY >> 8),
    "white_is_zero.tif": (encode_tiff(GREY.tobytes(), 16, photometric=0), 255 - (GREY >> 8)),
    "twelve_bits.tif": (encode_tiff(pack_12_bits(GREY >> 4), 12), GREY >> 8),
    "full.pgm": (encode_pgm(65535), GREY >> 8),
    "partial.pgm": (encode_pgm(1000), spread(1000) >> 8),
    "plain.pgm": (
        f"P2 8 6 65535\n{' '.join(str(v) for v in GREY.flatten())}\n".encode(),
        GREY >> 8,
    ),
    "misnamed.jpg": (encode_png(GREY, 0), GREY >> 8),
    "jpeg2000.png": (JPEG2000.getvalue(), GREY >> 8),
}


@pytest.mark.parametrize("name", DEEP)
def test_images_of_more_than_8_bits_keep_their_upper_8_bits(name, tmp_path):
    content, expected = DEEP[name]
    (tmp_path / name).write_bytes(content)
    pixels = np.array(open_image(tmp_path / name))
    if expected.ndim == 2:
        expected = np.repeat(expected[..., None], 3, axis=2)
    assert np.array_equal(pixels, expected)
    check_images([tmp_path / name])


def collect_refusals(path):
    """Return the messages with which both readers of image files refuse this file."""
    messages = []
    for read in (open_image, lambda path: check_images([path])):
        with pytest.raises(UserError) as caught:
            read(path)
        messages.append(str(caught.value))
    return messages


@pytest.mark.parametrize(
    ("mode", "content"),
    [
        ("I", encode_tiff(GREY.astype(np.int32).tobytes(), 32, sample_format=2)),
        ("I", encode_tiff(GREY.astype(np.uint32).tobytes(), 32)),
        ("I", encode_tiff(GREY.tobytes(), 16, sample_format=2)),
        ("F", encode_tiff(GREY.astype(np.float32).tobytes(), 32, sample_format=3)),
        ("F", b"Pf 8 6 -1\n" + GREY.astype(np.float32).tobytes()),
    ],
)
def test_modes_without_a_fixed_range_are_refused_by_name(mode, content, tmp_path):
    path = tmp_path / "x.tif"
    path.write_bytes(content)
    for message in collect_refusals(path):
        assert re.search(rf"x\.tif: mode {mode} \(.*8 or 16 bits", message)
        assert "\n" not in message


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (encode_planar_tiff(RGB), "channels of 16 bits .*interleaved"),
        (encode_tiff((GREY >> 9).astype(np.int8).tobytes(), 8, sample_format=2), "signed integers"),
        (encode_tiff(GREY.tobytes(), 16, sample_format=3), "its number of bits per channel"),
    ],
)
def test_a_tiff_that_pillow_reads_wrongly_is_refused(content, words, tmp_path):
    path = tmp_path / "x.tif"
    path.write_bytes(content)
    for message in collect_refusals(path):
        assert re.search(rf"x\.tif: .*{words}", message)
        assert "<" not in message
        assert message.count(str(path)) == 1


def test_a_planar_tiff_of_8_bits_is_read(tmp_path):
    pixels = (RGB >> 8).astype(np.uint8)
    (tmp_path / "x.tif").write_bytes(encode_planar_tiff(pixels))
    assert np.array_equal(np.array(open_image(tmp_path / "x.tif")), pixels)


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGBA", "CMYK"])
def test_images_of_8_bits_are_converted_by_pillow(mode, tmp_path):
    image = Image.fromarray((RGB >> 8).astype(np.uint8)).convert(mode)
    path = tmp_path / "x.tif"
    image.save(path)
    assert np.array_equal(np.array(open_image(path)), np.array(image.convert("RGB")))


@pytest.mark.parametrize("transparency", [1, bytes([255, 0, 128, 3])])
def test_a_palette_with_transparent_colours_gives_no_warning(transparency, tmp_path, recwarn):
    image = Image.fromarray((RGB >> 8).astype(np.uint8)).quantize(4)
    path = tmp_path / "x.png"
    image.save(path, transparency=transparency)
    assert np.array_equal(np.array(open_image(path)), np.array(image.convert("RGB")))
    assert [str(warning.message) for warning in recwarn] == []


@pytest.mark.parametrize("shape", [(3, 700), (700, 3), (1, 999), (640, 7), (90, 90)])
@pytest.mark.parametrize("side", [5, 24, 33])
def test_a_long_image_is_scaled_in_part_to_the_same_pixels(shape, side, tmp_path, monkeypatch):
    noise = np.random.default_rng(2).integers(0, 256, (*shape, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "long.png")
    results = []
    for limit in (0, 10**9):
        monkeypatch.setattr(image_file, "LARGEST_SCALED", limit)
        results.append(load_fitted(tmp_path / "long.png", side).int())
    # Pillow rounds the bounds of the part to float32, and pixels between the two axes to integers.
    assert (results[0] - results[1]).abs().max() <= 2


def test_a_strip_of_pixels_takes_little_memory(tmp_path):
    for name, size in (("wide.png", (6000, 1)), ("tall.png", (1, 6000))):
        Image.new("RGB", size, (9, 9, 9)).save(tmp_path / name)
    script = """
import resource, sys
from pathlib import Path
from bench.data.images.image_file import load_fitted
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
before = peak()
for name in sys.argv[1:]:
    assert load_fitted(Path(name), 224).eq(9).all()
print(peak() - before)
"""
    names = [str(tmp_path / name) for name in ("wide.png", "tall.png")]
    process = subprocess.run(
        [sys.executable, "-c", script, *names], capture_output=True, text=True, check=True
    )
    assert float(process.stdout) < 100  # MiB


def draw(path, **options):
    noise = np.random.default_rng(3).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path, **options)
    return path.read_bytes()


FORMATS = [".jpg", ".png", ".ppm", ".bmp", ".tif", ".webp"]


@pytest.mark.parametrize("suffix", FORMATS)
def test_the_check_finds_files_that_are_cut_off(suffix, tmp_path):
    path = tmp_path / f"x{suffix}"
    whole = draw(path)
    check_images([path])
    path.write_bytes(whole + b"more")  # Pillow ignores bytes after the end
    check_images([path])
    for length in (0, 5, 30, len(whole) // 2, len(whole) - 40):
        path.write_bytes(whole[:length])
        with pytest.raises(UserError, match=rf"x\{suffix}: not a readable image"):
            check_images([path])


def test_an_empty_file_is_called_empty(tmp_path):
    (tmp_path / "x.jpg").touch()
    for message in collect_refusals(tmp_path / "x.jpg"):
        assert "x.jpg: not a readable image (the file is empty); remove" in message


def test_the_check_reports_the_first_damaged_file_of_many(tmp_path):
    paths = [tmp_path / f"{i:04}.png" for i in range(600)]
    content = draw(paths[0])
    for i, path in enumerate(paths):
        path.write_bytes(content[: None if i % 290 or not i else 100])
    with pytest.raises(UserError, match=r"0290\.png"):
        check_images(paths)


def test_the_check_decodes_no_whole_file(tmp_path, monkeypatch):
    paths = [tmp_path / f"x{suffix}" for suffix in (".jpg", ".png", ".tif", ".webp")]
    for path in paths:
        draw(path)
    monkeypatch.setattr(image_file, "open_image", lambda path: pytest.fail(f"decoded {path}"))
    check_images(paths)


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_damaged_byte_gives_an_image_or_a_one_line_error(suffix, tmp_path):
    path = tmp_path / f"x{suffix}"
    whole = draw(path, **({"compression": "tiff_lzw"} if suffix == ".tif" else {}))
    generator = np.random.default_rng(4)
    places = [*range(60), *generator.integers(0, len(whole), 60).tolist()]
    for place in places:
        damaged = bytearray(whole)
        damaged[place] = int(generator.integers(256))
        path.write_bytes(damaged)
        try:
            message = f"{path} {open_image(path).mode}"
        except UserError as error:
            message = str(error)
        assert message.startswith(str(path))
        assert "\n" not in message


def test_a_path_is_shown_on_one_printable_line(tmp_path):
    assert format_path(tmp_path / "a b.png") == f"{tmp_path}/a b.png"
    assert format_path(tmp_path / "a\nb\udce9.png") == rf"{tmp_path}/a\nb\udce9.png"
