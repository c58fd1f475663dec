"""Image folders as ImageNet and torchvision's ImageFolder use them: train/CLASS/…, val/CLASS/….

Tar shards may replace the class folders (shards/tar_shards.py).
"""

from __future__ import annotations

import errno
import unicodedata
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from bench.data.images.image_file import ImageSource, load_fitted
from bench.data.images.shards.class_files import (
    IMG_EXTENSIONS,
    format_path,
    has_read_format,
    identify,
    refuse_broken_link,
    refuse_other_images,
    scan,
    walk,
)
from bench.data.images.shards.shard_files import (
    explain_missing,
    explain_wrong_names,
    find_shards,
)
from bench.data.images.shards.tar_shards import list_samples
from bench.data.interface.splits import Part
from bench.errors import UserError

MEMORY = 4 * 2**30  # bytes of images kept in memory; larger data sets are streamed


@dataclass(frozen=True)
class Listing:
    """Files of one split.

    classes: names in label order.
    paths: files or tar members.
    labels: int64 (N,).
    """

    classes: tuple[str, ...]
    paths: tuple[ImageSource, ...]
    labels: Tensor


@contextmanager
def explain_errors() -> Iterator[None]:
    """Raise UserError in place of an OSError, for a file or folder that cannot be read."""
    try:
        yield
    except OSError as error:
        advice = "change its permissions, or those of a folder above it"
        if error.errno == errno.ENAMETOOLONG:
            advice = "give a shorter path"
        elif error.errno not in (errno.EACCES, errno.EPERM):
            advice = "check the path and its disk"
        raise UserError(
            f"{format_path(Path(str(error.filename)))}: cannot be read ({error.strerror}); {advice}"
        ) from None


@explain_errors()
def list_images(
    root: Path, split: str, classes: Sequence[str] | None = None, *, is_used: bool = True
) -> Listing:
    """List the images of root/split, or of its tar shards, without hidden files and folders.

    Links are followed.
    classes: class names in label order (those of train/); by default, the folders found.
    is_used: False if the run reads none of the images. Images of unsupported formats are then left
    out.
    Raises UserError for missing or unreadable folders, and for a class that is not in `classes` or
    has no images. Raises UserError for images of unsupported formats, and if train/ has fewer than
    two classes.
    """
    for link in (root, root / split):
        refuse_broken_link(link)
    if shards := find_shards(root, split):
        samples = list_samples(shards, split, IMG_EXTENSIONS, classes)
        labels = torch.tensor(samples.labels, dtype=torch.int64)
        listing = Listing(samples.classes, samples.members, labels)
        _check_each_class(shards[0].parent, listing)
        return listing
    place = root / split
    names = _list_classes(root, split, classes)
    above = (identify(root), identify(place))
    found = {
        name: sorted(walk(place / name, above)) if (place / name).is_dir() else [] for name in names
    }
    if is_used:
        refuse_other_images(found)
    files = {name: [path for path in found[name] if has_read_format(path)] for name in names}
    if classes is None:
        for name in names:
            if not files[name]:
                raise UserError(
                    f"{format_path(place / name)}: contains no images "
                    f"({', '.join(IMG_EXTENSIONS)}); add images, or remove the folder"
                )
    paths = tuple(path for name in names for path in files[name])
    if not paths:
        raise UserError(
            f"{format_path(place)}: contains no images ({', '.join(IMG_EXTENSIONS)}); put images "
            f"into {split}/CLASS/"
        )
    counts = torch.tensor([len(files[name]) for name in names])
    listing = Listing(names, paths, torch.arange(len(names)).repeat_interleave(counts))
    _check_each_class(place, listing)
    return listing


def _list_classes(root: Path, split: str, known: Sequence[str] | None) -> tuple[str, ...]:
    """Return the class names in label order: `known`, or else the folders of root/split."""
    place = root / split
    shown = format_path(place)
    if not place.is_dir():
        raise UserError(f"{shown}: no such folder; {explain_missing(root, split)}")
    found = sorted(entry.name for entry in scan(place) if entry.is_dir())
    if not found:
        hint = explain_wrong_names(root, split) or f"put images into {split}/CLASS/"
        raise UserError(f"{shown}: contains no class folders; {hint}")
    names = tuple(known or found)
    strangers = sorted(set(found) - set(names))
    if strangers:
        raise UserError(
            f"{format_path(place / strangers[0])}: this class is missing in train/"
            f"{_explain_twin(strangers[0], names)}"
        )
    if len(names) < 2:
        raise UserError(
            f"{shown}: contains a single class, {names[0]!r}; give at least two folders "
            f"{split}/CLASS/"
        )
    return names


def _explain_twin(name: str, others: Sequence[str]) -> str:
    """Return advice on a class that is missing in train/.

    The advice differs if another name looks like this one but has other code points.
    """
    if unicodedata.normalize("NFC", name) in {unicodedata.normalize("NFC", o) for o in others}:
        return (
            ", where the name looks the same but its accents are encoded otherwise (Unicode NFC "
            "and NFD); copy the name of the folder in train/"
        )
    return "; add training images of it, or remove this folder"


def _check_each_class(place: Path, listing: Listing) -> None:
    """Raise UserError if a class has no images, because accuracy would say nothing about it."""
    counts = torch.bincount(listing.labels, minlength=len(listing.classes)).tolist()
    missing = [name for name, count in zip(listing.classes, counts, strict=True) if not count]
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        names = ", ".join(repr(name) for name in missing[:3])
        raise UserError(
            f"{format_path(place)}: contains no images of {len(missing)} of the {len(counts)} "
            f"classes in train/ ({names}{more}); add images of each of these, or remove them from "
            "train/"
        )


@explain_errors()
def list_files(root: Path, evaluate_on: Part = "test") -> list[ImageSource]:
    """Return the files of all images of both splits in a fixed order; val/ may be missing.

    Raises UserError if val has another name, or contains images of train. A run with
    evaluate_on="validation" does not read val, so an unreadable val counts as missing.
    """
    train = list_images(root, "train")
    if evaluate_on == "validation":
        with suppress(UserError):
            val = list_images(root, "val", train.classes, is_used=False)
            return [*train.paths, *val.paths]
        return list(train.paths)
    refuse_broken_link(root / "val")
    if (root / "val").is_dir() or find_shards(root, "val"):
        val = list_images(root, "val", train.classes)
        _refuse_shared_places(train, val)
        return [*train.paths, *val.paths]
    if hint := explain_wrong_names(root, "val"):
        raise UserError(f"{format_path(root / 'val')}: no such folder; {hint}")
    return list(train.paths)


def _refuse_shared_places(train: Listing, val: Listing) -> None:
    """Raise UserError if a folder or shard belongs to both splits, for example through a link."""
    trained = {identify(place): place for place in _list_places(train)}
    for place in sorted(_list_places(val)):
        if other := trained.get(identify(place)):
            raise UserError(
                f"{format_path(place)}: the same as {format_path(other)}, so training images would "
                "be scored; put other images there, or remove val and pass --evaluate-on validation"
            )


def _list_places(split: Listing) -> set[Path]:
    """Return the folders and shards that contain the images of a split."""
    return {path.parent if isinstance(path, Path) else path.shard for path in split.paths}


def name_in(root: Path, path: ImageSource) -> str:
    """Return the path of an image relative to the folder of its data set."""
    return path.relative_to(root).as_posix() if isinstance(path, Path) else path.place


def hold_out(split: Listing, share: float) -> tuple[Listing, Listing]:
    """Return the split without a fixed share of each class, and the held-out share.

    Raises UserError if a class has a single image, because no image of that class would be left to
    train.
    """
    from bench.data.interface.splits import find_only_samples, split_held_out

    if len(alone := find_only_samples(split.labels)):
        more = f" (one of {len(alone)} such classes)" if len(alone) > 1 else ""
        raise UserError(
            f"{format_path(split.paths[alone[0]])}: the only image of class "
            f"{split.classes[split.labels[alone[0]]]!r}{more}, so none can be held out for "
            "validation; add images, remove the class, or use --evaluate-on test"
        )
    kept, held = split_held_out(split.labels, share)
    return _select_subset(split, kept), _select_subset(split, held)


def limit_listing(split: Listing, limit: int) -> Listing:
    """Return the split with at most `limit` images, balanced over the classes."""
    from bench.data.interface.splits import select_balanced

    return _select_subset(split, select_balanced(split.labels, len(split.classes), limit))


def is_too_large(images: int, resolution: int) -> bool:
    """Return whether this number of images takes more than MEMORY bytes at a resolution."""
    return images * 3 * resolution**2 > MEMORY


def _select_subset(split: Listing, chosen: Tensor) -> Listing:
    paths = tuple(split.paths[i] for i in chosen.tolist())
    return Listing(split.classes, paths, split.labels[chosen])


def read(paths: Sequence[ImageSource], resolution: int) -> Tensor:
    """Read images as uint8 (N, 3, resolution, resolution), each fitted by `load_fitted`."""
    with ThreadPoolExecutor(4) as pool:
        images = list(pool.map(partial(load_fitted, resolution=resolution), paths))
    return torch.stack(images) if images else torch.empty(0, 3, resolution, resolution).byte()
