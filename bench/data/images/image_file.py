"""One image file: its pixels as 8-bit RGB, and a check that does not decode it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from io import SEEK_END
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from bench.data.images.shards.class_files import format_path
from bench.data.images.shards.tar_shards import LoadedMember, TarMember
from bench.errors import UserError, summarise_error

ImageSource = Path | TarMember
Readable = ImageSource | LoadedMember

FILES_AT_ONCE = 256  # files that one task of a thread checks
LEAST_LEVELS = 16  # an image with fewer values per channel counts as blank
LARGEST_SCALED = 128  # most pixels of a scaled image, relative to the pixels that are kept
# Formats whose mode "I" has 16 bits in Pillow. In other formats, "I" has 32 bits.
WITH_16_BITS = ("PNG", "PPM")
END_OF_JPEG, END_OF_PNG = b"\xff\xd9", b"\x00\x00\x00\x00IEND\xae\x42\x60\x82"
# TIFF tags: bits of a sample, meaning of the value 0, first bytes and sizes of strips or tiles,
# whether each channel is stored by itself (2), and whether samples are signed (2).
BITS, PHOTOMETRIC, STARTS, SIZES = 258, 262, (273, 324), (279, 325)
PLANAR, SAMPLE_FORMAT = 284, 339


def open_image(path: Readable) -> Image.Image:
    """Return the image in RGB with 8 bits per channel.

    Images of 16 bits per channel keep their upper 8 bits: value // 256. Images of b bits, such as a
    TIFF of 12 bits, keep value // 2^(b − 8). Alpha is dropped, and the orientation in EXIF data is
    ignored. Raises UserError with the path if the file is damaged, or if its values are 32-bit
    integers or floating-point numbers, which have no fixed range.
    """
    with _explain_damage(path), _open(path) as image:
        _check_mode(path, image)
        # Alpha is dropped, and Pillow warns about the transparent colours of a palette.
        image.info.pop("transparency", None)
        return (_scale_to_8_bits(image) if _is_deep(image) else image).convert("RGB")


@contextmanager
def _open(path: Readable) -> Iterator[Image.Image]:
    if isinstance(path, Path):
        with Image.open(path) as image:
            yield image
    else:
        with path.open() as file, Image.open(file) as image:
            yield image


@contextmanager
def _explain_damage(path: Readable) -> Iterator[None]:
    try:
        yield
    except (UserError, MemoryError):
        raise
    except Exception as error:  # on damaged files, Pillow's decoders raise errors of many classes
        reason = summarise_error(error)
        if isinstance(error, UnidentifiedImageError):  # its text is the name of an open file
            reason = "its format, or its number of bits per channel, is unknown to Pillow"
            reason = _explain_start(path) or reason
        raise UserError(
            f"{format_path(path)}: not a readable image ({reason}); remove or replace it"
        ) from None


def _explain_start(path: Readable) -> str:
    """Return what the first bytes of a file say about an unreadable image, or ""."""
    with path.open("rb") as file:
        start = file.read(32)
    if start.startswith(b"version https://git-lfs"):
        return "a pointer of Git LFS; fetch the image with `git lfs pull`"
    if start[4:8] == b"ftyp":
        return f"a HEIC, AVIF or MP4 file of the type {start[8:12].decode(errors='replace')!r}"
    return "" if start else "the file is empty"


def _is_deep(image: Image.Image) -> bool:
    """Return whether Pillow holds more than 8 bits per channel, in a known range."""
    return image.mode.startswith("I;16") or (image.mode == "I" and image.format in WITH_16_BITS)


def _check_mode(path: Readable, image: Image.Image) -> None:
    """Raise UserError for values of no fixed range, and for TIFFs that Pillow reads wrongly.

    Pillow reads signed bytes as unsigned bytes. It reads planar channels of more than 8 bits as
    channels of 8 bits.
    """
    if image.mode in ("I", "F") and not _is_deep(image):
        raise UserError(
            f"{format_path(path)}: mode {image.mode} ({image.format}) has no fixed range of values "
            "to scale to 8 bits; save the image with 8 or 16 bits per channel"
        )
    tags = getattr(image, "tag_v2", {})
    bits = tags.get(BITS, (1,))
    if tags.get(PLANAR) == 2 and len(bits) > 1 and max(bits) > 8:
        raise UserError(
            f"{format_path(path)}: channels of {max(bits)} bits that are stored one after the "
            "other (planar TIFF) cannot be read; save the image with interleaved channels"
        )
    if 2 in tags.get(SAMPLE_FORMAT, ()):
        raise UserError(
            f"{format_path(path)}: signed integers cannot be read; save the image with unsigned "
            "channels of 8 or 16 bits"
        )


def _scale_to_8_bits(image: Image.Image) -> Image.Image:
    tags = getattr(image, "tag_v2", {})
    values = (np.asarray(image) >> (_count_bits(image) - 8)).astype(np.uint8)
    # Pillow inverts images whose value 0 means white only if they have at most 8 bits.
    return Image.fromarray(255 - values if tags.get(PHOTOMETRIC) == 0 else values)


def has_deep_pixels(source: ImageSource) -> bool:
    """Return whether a file is an image that `open_image` scales from more than 8 bits."""
    try:
        with _open(source) as image:
            return _is_deep(image)
    except Exception:  # a damaged file is reported when it is read
        return False


def refuse_low_values(paths: Iterable[ImageSource]) -> None:
    """Raise UserError if all images of more than 8 bits per channel hold low values.

    Some programs store values of 8, 10 or 12 bits in 16-bit files. Such images are nearly black,
    because only the upper 8 bits are read. One larger value ends the search, because a dark image
    next to brighter ones is valid.
    """
    largest, bits = 0, 16
    place: ImageSource = Path()
    for path in paths:
        with _explain_damage(path), _open(path) as image:
            value = _find_largest_value(image)
            if value and value >> (_count_bits(image) - 8) >= LEAST_LEVELS:
                return
            if value > largest:
                largest, bits, place = value, _count_bits(image), path
    if largest:
        levels = (largest >> (bits - 8)) + 1
        remain = f"{levels} grey levels remain" if levels > 1 else "it would be blank"
        raise UserError(
            f"{format_path(place)}: holds values up to {largest:,} of {2**bits - 1:,}, but only "
            f"the upper 8 bits are read, so {remain}; rescale it and all others "
            "like it to values from 0 to 255, and save them with 8 bits per channel"
        )


def refuse_hidden_pictures(paths: Iterable[ImageSource]) -> None:
    """Raise UserError for an image whose alpha varies while its colour does not.

    Only the alpha channel then shows the picture, and the conversion to RGB drops it.
    """
    for path in paths:
        with _explain_damage(path), _open(path) as image:
            has_alpha = image.mode.endswith(("A", "a")) or "transparency" in image.info
            if not has_alpha or _is_deep(image):
                continue
            colours = np.asarray(image.convert("RGBA")).reshape(-1, 4)
        *spread, alpha = (colours.max(0) - colours.min(0)).tolist()
        if max(spread) < LEAST_LEVELS <= alpha:
            raise UserError(
                f"{format_path(path)}: the picture is in the transparency, which is not read; "
                "flatten it and all others like it onto a background of another colour"
            )


def _find_largest_value(image: Image.Image) -> int:
    """Return the largest value of an image of more than 8 bits per channel, otherwise 0.

    Pillow reads only the upper 8 bits of colour images. The lower bits are assumed to be ones, so
    the result is never too small.
    """
    if _is_deep(image):
        return int(np.asarray(image).max())
    if ";16" in str(getattr(image, "tile", "")):  # the format of the samples in the file
        return int(np.asarray(image.convert("RGB")).max()) * 256 + 255
    return 0


def _count_bits(image: Image.Image) -> int:
    tags = getattr(image, "tag_v2", {})
    return int(tags.get(BITS, (16,))[0])


def load_fitted(path: Readable, resolution: int) -> Tensor:
    """Read an image as uint8 (3, R, R), scaled and cropped at the centre.

    The shorter side is scaled to R × 256 / 224 pixels, as is usual for evaluation on ImageNet. A
    shorter side of at most R is scaled to R.
    """
    image = open_image(path)
    short = min(image.size)
    target = round(resolution * 256 / 224) if short > resolution else resolution
    width, height = (max(target, round(side * target / short)) for side in image.size)
    left, top = (width - resolution) // 2, (height - resolution) // 2
    box = (left, top, left + resolution, top + resolution)
    if width * height <= LARGEST_SCALED * resolution**2:
        return to_tensor(image.resize((width, height), Image.Resampling.BILINEAR).crop(box))
    # Scaled as a whole, a strip of 6000 × 1 pixels would take a gigabyte. Scale its centre only.
    across, down = image.width / width, image.height / height
    source = (box[0] * across, box[1] * down, box[2] * across, box[3] * down)
    return to_tensor(image.resize((resolution, resolution), Image.Resampling.BILINEAR, box=source))


def to_tensor(image: Image.Image) -> Tensor:
    """Convert an RGB image to uint8 (3, H, W)."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()


def check_images(paths: Sequence[ImageSource]) -> None:
    """Raise UserError for the first file that is no image, is cut off or has an unsupported mode.

    Only the header and the end of most files are read, which takes 0.1 ms per file. Damage between
    them is found when the image is read.
    """
    tasks = [paths[i : i + FILES_AT_ONCE] for i in range(0, len(paths), FILES_AT_ONCE)]
    with ThreadPoolExecutor(4) as pool:
        for _ in pool.map(_check_each, tasks):
            pass


def _check_each(paths: Sequence[ImageSource]) -> None:
    for path in paths:
        with _explain_damage(path), path.open("rb") as file, Image.open(file) as image:
            _check_mode(path, image)
            whole = _has_proper_end(image, file)
        if not whole:  # Pillow reads many such files, for example with bytes after their end
            open_image(path)


def _has_proper_end(image: Image.Image, file: BinaryIO) -> bool:
    """Return whether a file is as long as its format demands; False if the format is unknown."""
    file.seek(0)
    head = file.read(8)
    size = file.seek(0, SEEK_END)
    file.seek(max(0, size - len(END_OF_PNG)))
    tail = file.read()
    if image.format in ("JPEG", "MPO"):
        return tail.endswith(END_OF_JPEG)
    if image.format == "PNG":
        return tail == END_OF_PNG
    if image.format == "WEBP":  # its bytes 4 to 7 are the size without the first 8 bytes
        return int.from_bytes(head[4:], "little") + 8 <= size
    if image.format == "TIFF":
        tags = getattr(image, "tag_v2", {})
        starts, sizes = (
            [v for tag in group for v in tags.get(tag, ())] for group in (STARTS, SIZES)
        )
        ends = [start + count for start, count in zip(starts, sizes, strict=False)]
        return bool(ends) and max(ends) <= size
    return False
