"""Data sets by name: what there is, loading one, and what a run's id says of its contents."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from bench.data.images import cifar, digits, glyphs, image_folder
from bench.data.images.augmentation import resize
from bench.data.images.dataset import ImageData, moments
from bench.data.images.streaming import WORKERS, ImageStream
from bench.data.interface.splits import Part, held_out, in_turn
from bench.data.texts import catalogue, glue
from bench.errors import UserError
from bench.options import unknown

EMBEDDED = (*digits.RECIPES, *("glyphs" + (f":{v}" if v else "") for v in glyphs.RECIPES))
NAMES = (*EMBEDDED, *cifar.NAMES, "folder:PATH", "imagenet", *catalogue.TEXTS)
HELD_OUT = 0.1  # share of the training images that validation takes where files are read


@dataclass(frozen=True)
class Facts:
    """What can be told of a data set without loading it."""

    classes: int
    train_samples: int
    length: int = 0  # of texts: a typical batch's, tokens


def load(
    name: str,
    *,
    resolution: int,
    evaluate_on: Part = "test",
    root: Path | None = None,
    train_limit: int = 0,
) -> ImageData:
    """Load a data set with images of at most resolution × resolution, in memory.

    Smaller originals stay as they are (see augment.normalise, which enlarges a batch). With
    evaluate_on="validation" the evaluation images come out of the training part and test images
    are not read. train_limit > 0 keeps that many training images, all classes alike.
    Raises UserError for an unknown name, and for missing or damaged files.
    """
    kind, _, rest = name.partition(":")
    if name in digits.RECIPES:
        data = digits.load(name, resolution, evaluate_on)
    elif kind == "glyphs" and rest in glyphs.RECIPES:
        data = glyphs.load(rest, resolution, evaluate_on)
    elif name in cifar.NAMES:
        data = _load_cifar(name, resolution, evaluate_on, root)
    elif kind in ("folder", "imagenet"):
        data = image_folder.load(name, _place(name, root), resolution, evaluate_on, HELD_OUT)
    else:
        raise unknown("data set", name, list(NAMES))
    return _limited(data, train_limit) if train_limit else data


def stream(
    name: str,
    *,
    resolution: int,
    evaluate_on: Part = "test",
    root: Path | None = None,
    train_limit: int = 0,
    workers: int = 0,
) -> ImageStream | None:
    """An image folder that is too large for memory, to be decoded batch by batch; else None.

    workers: processes that decode; 0 = one a core, at most four.
    """
    if name.partition(":")[0] not in ("folder", "imagenet"):
        return None
    place = _place(name, root)
    if not image_folder.too_large(place, resolution):
        return None
    return ImageStream(
        place,
        resolution=resolution,
        evaluate_on=evaluate_on,
        held_share=HELD_OUT,
        train_limit=train_limit,
        workers=workers or WORKERS,
    )


def fingerprint(name: str, root: Path | None = None) -> str:
    """Sixteen hex digits of a SHA-256 over the contents, wherever they lie.

    Embedded sets: their sources and recipe. CIFAR: the sums of its files. Folders: every image's
    relative path, size and bytes; no bytes of folders as large as ImageNet, which cannot be read
    through for it; ImageNet without a root: its name, so that its runs can be planned.
    """
    kind, _, rest = name.partition(":")
    if catalogue.is_text(name):
        return catalogue.fingerprint(name, root)
    if name in digits.RECIPES:
        return digits.fingerprint(name)
    if kind == "glyphs" and rest in glyphs.RECIPES:
        return glyphs.fingerprint(rest)
    digest = hashlib.sha256()
    if name in cifar.NAMES:
        digest.update(cifar.identity(name, root).encode())
    elif name == "imagenet" and root is None:
        digest.update(b"imagenet")
    elif kind in ("folder", "imagenet"):
        place = _place(name, root)
        large = image_folder.too_large(place, 224)
        for path in image_folder.files(place):
            digest.update(f"{path.relative_to(place).as_posix()} {path.stat().st_size}\n".encode())
            if not large:
                digest.update(path.read_bytes())
    else:
        raise unknown("data set", name, list(NAMES))
    return digest.hexdigest()[:16]


def describe(name: str, root: str | Path | None = None) -> Facts:
    """Classes and training images of a set that is evaluated on its test part."""
    kind, _, rest = name.partition(":")
    place = Path(root) if root else None
    if catalogue.is_text(name):
        return Facts(*catalogue.facts(name))
    if name in digits.RECIPES:
        return Facts(10 ** digits.RECIPES[name].slots, digits.RECIPES[name].train_draws)
    if kind == "glyphs" and rest in glyphs.RECIPES:
        recipe = glyphs.RECIPES[rest]
        return Facts(recipe.classes, recipe.train_draws)
    if name in cifar.NAMES:
        return Facts(cifar.CLASSES[name], cifar.train_samples(name, place))
    if name == "imagenet" and not place:
        return Facts(1000, 1_281_167)
    if kind in ("folder", "imagenet"):
        listing = image_folder.listing(_place(name, place), "train")
        return Facts(len(listing.classes), len(listing.paths))
    raise unknown("data set", name, list(NAMES))


def describe_all() -> dict[str, str]:
    """A line on each data set, for `freezebench list`."""
    lines = {}
    for name in EMBEDDED:
        facts = describe(name)
        lines[name] = f"embedded; {facts.classes} classes, {facts.train_samples:,} training draws"
    for name, classes in cifar.CLASSES.items():
        lines[name] = f"needs a data root; {classes} classes, torchvision's layout or zip files"
    lines["folder:PATH"] = "any images as PATH/train/CLASS/… and PATH/val/CLASS/…"
    lines["imagenet"] = "the same layout under the data root; 1,000 classes"
    return lines | catalogue.lines()


def needs_root(name: str) -> bool:
    """Whether a data set lies below a root folder that the user must name."""
    return (
        name in cifar.NAMES or name == "imagenet" or (name in glue.TASKS and not glue.can_fetch())
    )


def _place(name: str, root: Path | None) -> Path:
    """The folder that holds train/ and val/."""
    kind, _, rest = name.partition(":")
    if kind == "folder" and rest:
        return Path(rest).expanduser()
    if root is None:
        raise UserError(
            f"{name}: no folder is given; write folder:PATH, or give --data-root for imagenet"
        )
    return root


def _load_cifar(name: str, resolution: int, evaluate_on: Part, root: Path | None) -> ImageData:
    images, labels = cifar.load(name, root, train=True)
    if evaluate_on == "validation":
        kept, held = held_out(labels, HELD_OUT)
        images, labels, eval_images, eval_labels = (
            images[kept], labels[kept], images[held], labels[held],
        )  # fmt: skip
    else:
        eval_images, eval_labels = cifar.load(name, root, train=False)
    if resolution < images.shape[-1]:
        images, eval_images = resize(images, resolution), resize(eval_images, resolution)
    statistics = moments(images)
    return ImageData(
        name, cifar.CLASSES[name], images, labels, eval_images, eval_labels, *statistics, flip=True
    )


def _limited(data: ImageData, limit: int) -> ImageData:
    """The first training images of every class in turn, up to the limit."""
    chosen = in_turn(data.train_labels, data.classes, limit)
    images, labels = data.train_images[chosen], data.train_labels[chosen]
    return ImageData(
        data.name, data.classes, images, labels, data.eval_images, data.eval_labels,
        *moments(images), flip=data.flip,
    )  # fmt: skip
