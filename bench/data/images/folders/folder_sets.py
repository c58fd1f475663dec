"""Image folders as data sets: folder:PATH, and imagenet in the data root.

The images may be in tar shards instead (shards/tar_shards.py). A run on shards gives the same
result as a run on the folder with the same images. Both runs have one id if the members of the
shards are named CLASS/NAME.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from bench.data.images import image_folder
from bench.data.images.dataset import HELD_OUT, ImageSet
from bench.data.images.folders.sequential import SequentialStream
from bench.data.images.image_data import ImageData, compute_moments
from bench.data.images.image_file import (
    LEAST_LEVELS,
    ImageSource,
    has_deep_pixels,
    refuse_hidden_pictures,
    refuse_low_values,
)
from bench.data.images.shards.class_files import format_path
from bench.data.images.streaming import WORKERS, ImageStream
from bench.data.interface.descriptor import DataSet, Facts, hash_parts
from bench.data.interface.splits import Part
from bench.errors import UserError
from bench.files import expand_home


@dataclass(frozen=True)
class FolderSet(ImageSet):
    """Images in PATH/train/CLASS/… and PATH/val/CLASS/….

    Folders as large as ImageNet are streamed. Their fingerprint covers only the paths and sizes of
    files, because reading every byte would take too long.
    """

    @property
    def summary(self) -> str:
        """Summary line for `freezebench list`."""
        return "any images in PATH/train/CLASS/… and PATH/val/CLASS/…"

    @property
    def reads_root(self) -> bool:
        """Whether the folder is the data root, because the name of the data set has no path."""
        return not self.name.partition(":")[2]

    def find(self, name: str) -> DataSet | None:
        """Return the data set for a name that begins with "folder:", else None."""
        return replace(self, name=name) if name.partition(":")[0] == "folder" else None

    def place(self, root: Path | None) -> Path:
        """Return the folder that contains train/ and val/. Raises UserError if none is given."""
        path = self.name.partition(":")[2]
        if path:
            return expand_home(path)
        if root is None:
            raise UserError(
                f"{self.name}: no folder is given; write folder:PATH, or give --data-root for "
                "imagenet"
            )
        return root

    def describe(self, root: Path | None) -> Facts:
        """Return the number of classes and of training images in the folder."""
        found = image_folder.list_images(self.place(root), "train")
        return Facts(len(found.classes), len(found.paths))

    def fingerprint(self, root: Path | None) -> str:
        """Return a hash of each image's path and size, and of its bytes if the folder is small."""
        return self.fingerprint_for("test", root)

    def fingerprint_for(self, evaluate_on: Part, root: Path | None) -> str:
        """Return the fingerprint for runs that evaluate on a part of the data.

        A run with evaluate_on="validation" does not read val/. If val/ is missing or cannot be
        listed, the fingerprint for such a run leaves it out. Otherwise, the fingerprint does not
        depend on evaluate_on.
        """
        return hash_parts(self._list_contents(self.place(root), evaluate_on))

    def _list_contents(self, place: Path, evaluate_on: Part) -> Iterator[bytes]:
        paths = image_folder.list_files(place, evaluate_on)
        large = image_folder.is_too_large(len(paths), 224)
        deep = False
        for path in paths:
            size, content = _read_file(path, with_content=not large)
            # Names need not be UTF-8, so hash their bytes.
            yield os.fsencode(f"{image_folder.name_in(place, path)} {size}\n")
            yield content
            if not deep and not _is_jpeg(path, content):
                deep = has_deep_pixels(path)
        if deep:  # earlier versions clipped these images, so their results must not be reused
            yield b"scaled to 8 bits"

    def load(
        self, resolution: int, evaluate_on: Part, root: Path | None, fold: int = 0
    ) -> ImageData:
        """Read all images, each scaled and centre-cropped to resolution × resolution."""
        place = self.place(root)
        train = image_folder.list_images(place, "train")
        if evaluate_on == "test":
            test = image_folder.list_images(place, "val", train.classes)
        else:
            train, test = image_folder.hold_out(train, HELD_OUT)
        if image_folder.is_too_large(len(train.paths) + len(test.paths), resolution):
            raise UserError(
                f"{self.name}: {len(train.paths) + len(test.paths):,} images of {resolution} × "
                f"{resolution} do not fit in memory; give a lower resolution, or a folder with "
                "fewer images"
            )
        images, held = (image_folder.read(split.paths, resolution) for split in (train, test))
        for paths, pixels in ((train.paths, images), (train.paths + test.paths, held)):
            if _has_blank_images(pixels):
                refuse_low_values(paths)
        for split, pixels in ((train, images), (test, held)):
            refuse_hidden_pictures(split.paths[i] for i in _find_flat_images(pixels))
        return ImageData(
            self.name, len(train.classes), images, train.labels, held, test.labels,
            *compute_moments(images), flip=True,
        )  # fmt: skip

    def stream(
        self,
        resolution: int,
        evaluate_on: Part,
        root: Path | None,
        *,
        train_limit: int,
        workers: int,
        sequential: bool = False,
    ) -> ImageStream | None:
        """Return the folder as a stream, or None if its images fit in memory.

        sequential: always stream, and read tar shards in their own order.
        """
        place = self.place(root)
        if train_limit:
            _check_limit(train_limit, len(image_folder.list_images(place, "train").classes))
        if sequential:
            kind: type[ImageStream] = SequentialStream
        elif image_folder.is_too_large(
            len(image_folder.list_files(place, evaluate_on)), resolution
        ):
            kind = ImageStream
        else:
            return None
        return kind(
            place,
            resolution=resolution,
            evaluate_on=evaluate_on,
            held_share=HELD_OUT,
            train_limit=train_limit,
            workers=workers or WORKERS,
        )


def _has_blank_images(images: Tensor) -> bool:
    """Return whether any image is almost black or almost white.

    Its file may hold low values of 12 or 16 bits, of which only the upper 8 bits were kept. The
    image is white if the value 0 means white.
    images: uint8 (N, 3, R, R).
    """
    pixels = images.flatten(1)
    return bool(((pixels.amax(1) < LEAST_LEVELS) | (pixels.amin(1) > 255 - LEAST_LEVELS)).any())


def _find_flat_images(images: Tensor) -> list[int]:
    """Return the indices of images of nearly one colour.

    images: uint8 (N, 3, R, R).
    """
    pixels = images.flatten(2)
    spread = (pixels.amax(2) - pixels.amin(2)).amax(1)
    return (spread < LEAST_LEVELS).nonzero().flatten().tolist()


def _check_limit(limit: int, classes: int) -> None:
    """Raise UserError if a limit leaves a class without a training image."""
    if limit < classes:
        raise UserError(
            f"--train-limit {limit} leaves {classes - limit} of the {classes} classes without a "
            f"training image; give at least {classes}"
        )


def _read_file(path: ImageSource, with_content: bool) -> tuple[int, bytes]:
    """Return the size of a file in bytes and, if `with_content` is set, its content."""
    try:
        size = path.stat().st_size if isinstance(path, Path) else path.size
        return size, path.read_bytes() if with_content else b""
    except OSError as error:
        raise UserError(
            f"{format_path(path)}: cannot be read ({error.strerror}); change its permissions, or "
            "remove it"
        ) from None


def _is_jpeg(path: ImageSource, content: bytes) -> bool:
    """Return whether a file is a JPEG. If its content has not been read, its name decides."""
    return content.startswith(b"\xff\xd8") or (
        not content and path.suffix.lower() in (".jpg", ".jpeg")
    )


class ImageNetSet(FolderSet):
    """ImageNet as an image folder.

    Without a data root, its published facts and its name stand in for the files, so that runs can
    be planned.
    """

    needs_root = True

    @property
    def summary(self) -> str:
        """Summary line for `freezebench list`."""
        return "train/CLASS/… and val/CLASS/… in the data root; 1,000 classes"

    def find(self, name: str) -> DataSet | None:
        """Return this data set for its own name, else None."""
        return self if name == self.name else None

    def describe(self, root: Path | None) -> Facts:
        """Return the facts found in the data root, or the published facts without a data root."""
        return super().describe(root) if root else Facts(1000, 1_281_167)

    def fingerprint_for(self, evaluate_on: Part, root: Path | None) -> str:
        """Return a hash of the files, or of the name of the data set without a data root."""
        if root is None:
            return hash_parts([b"imagenet"])
        return super().fingerprint_for(evaluate_on, root)


DATA_SETS = (FolderSet("folder:PATH"), ImageNetSet("imagenet"))
