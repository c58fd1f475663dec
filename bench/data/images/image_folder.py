"""Image folders as ImageNet and torchvision's ImageFolder use them: train/CLASS/…, val/CLASS/…."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from bench.data.images.image_data import ImageData, compute_moments
from bench.data.interface.splits import Part
from bench.errors import UserError

# The extensions of torchvision's ImageFolder; a test compares the two lists.
IMG_EXTENSIONS = (
    ".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp",
)  # fmt: skip
MEMORY = 4 * 2**30  # bytes of images kept in memory; larger data sets are streamed


@dataclass(frozen=True)
class Listing:
    """Files of one split: class names in alphabetical order, paths, and int64 labels (N,)."""

    classes: tuple[str, ...]
    paths: tuple[Path, ...]
    labels: Tensor


def load(name: str, root: Path, resolution: int, evaluate_on: Part, held_share: float) -> ImageData:
    """Load a folder's images into memory, each fitted to resolution × resolution by `load_fitted`.

    held_share: share of training images to hold out with evaluate_on="validation". Raises UserError
    for missing folders, an unreadable image, or a data set that is too large for memory.
    """
    train = list_images(root, "train")
    if evaluate_on == "test":
        test = list_images(root, "val", train.classes)
    else:
        train, test = hold_out(train, held_share)
    size = (len(train.paths) + len(test.paths)) * 3 * resolution**2
    if size > MEMORY:
        raise UserError(
            f"{name}: {len(train.paths):,} images of {resolution} × {resolution} do not fit in "
            "memory; give a lower resolution, or a folder with fewer images"
        )
    images, held = read(train.paths, resolution), read(test.paths, resolution)
    return ImageData(
        name, len(train.classes), images, train.labels, held, test.labels, *compute_moments(images),
        flip=True,
    )  # fmt: skip


def list_images(root: Path, split: str, classes: Sequence[str] | None = None) -> Listing:
    """List the images of root/split.

    classes: class names in label order (those of train/); by default, the folders found. Raises
    UserError for missing folders, for a class not in `classes`, and if there are no images.
    """
    place = root / split
    if not place.is_dir():
        raise UserError(
            f"{place}: no such folder; an image folder must contain train/CLASS/ and val/CLASS/"
        )
    found = sorted(entry.name for entry in place.iterdir() if entry.is_dir())
    if not found:
        raise UserError(f"{place}: contains no class folders; put images into {split}/CLASS/")
    known = tuple(classes or found)
    strangers = sorted(set(found) - set(known))
    if strangers:
        raise UserError(f"{place / strangers[0]}: this class is missing in train/")
    paths: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(known):
        inside = sorted((place / name).rglob("*")) if (place / name).is_dir() else []
        images = [path for path in inside if _is_image(path)]
        if not images and classes is None:
            raise UserError(f"{place / name}: contains no images ({', '.join(IMG_EXTENSIONS)})")
        paths += images
        labels += [label] * len(images)
    if not paths:
        raise UserError(f"{place}: contains no images ({', '.join(IMG_EXTENSIONS)})")
    return Listing(known, tuple(paths), torch.tensor(labels, dtype=torch.int64))


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in IMG_EXTENSIONS and path.is_file()


def list_files(root: Path) -> list[Path]:
    """Return the files of all images of both splits in a fixed order; val/ may be missing."""
    train = list_images(root, "train")
    test = list_images(root, "val", train.classes).paths if (root / "val").is_dir() else ()
    return [*train.paths, *test]


def hold_out(split: Listing, share: float) -> tuple[Listing, Listing]:
    """Return the split without a fixed share of each class, and the held-out share."""
    from bench.data.interface.splits import split_held_out

    kept, held = split_held_out(split.labels, share)
    return _select_subset(split, kept), _select_subset(split, held)


def limit_listing(split: Listing, limit: int) -> Listing:
    """Return the split with at most `limit` images, balanced over the classes."""
    from bench.data.interface.splits import select_balanced

    return _select_subset(split, select_balanced(split.labels, len(split.classes), limit))


def is_too_large(root: Path, resolution: int) -> bool:
    """Return whether a folder's images take more than MEMORY bytes at a resolution."""
    return len(list_files(root)) * 3 * resolution**2 > MEMORY


def _select_subset(split: Listing, chosen: Tensor) -> Listing:
    paths = tuple(split.paths[i] for i in chosen.tolist())
    return Listing(split.classes, paths, split.labels[chosen])


def read(paths: Sequence[Path], resolution: int) -> Tensor:
    """Read images as uint8 (N, 3, resolution, resolution), each fitted by `load_fitted`."""
    with ThreadPoolExecutor(4) as pool:
        images = list(pool.map(partial(load_fitted, resolution=resolution), paths))
    return torch.stack(images) if images else torch.empty(0, 3, resolution, resolution).byte()


def load_fitted(path: Path, resolution: int) -> Tensor:
    """Read an image as uint8 (3, R, R): scale its shorter side to R × 256 / 224, crop the centre.

    This is the usual evaluation transform on ImageNet. If the shorter side is at most R, it is
    scaled to R.
    """
    image = open_image(path)
    short = min(image.size)
    target = round(resolution * 256 / 224) if short > resolution else resolution
    width, height = (max(target, round(side * target / short)) for side in image.size)
    scaled = image.resize((width, height), Image.Resampling.BILINEAR)
    left, top = (scaled.width - resolution) // 2, (scaled.height - resolution) // 2
    return to_tensor(scaled.crop((left, top, left + resolution, top + resolution)))


def open_image(path: Path) -> Image.Image:
    """Return the image in RGB. Raises UserError with the path if it cannot be read."""
    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        reason = " ".join(str(error).split())[:120]
        raise UserError(f"{path}: not a readable image ({reason}); remove or replace it") from None


def to_tensor(image: Image.Image) -> Tensor:
    """Convert an RGB image to uint8 (3, H, W)."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()
