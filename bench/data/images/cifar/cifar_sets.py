"""CIFAR-10 and CIFAR-100 as data sets, read from files in a data root or downloaded into it."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

from bench.data.images.augmentation import resize
from bench.data.images.cifar.hub_files import CLASSES, FOLDERS, HubFiles
from bench.data.images.cifar.torchvision_files import (
    PUBLISHED_TRAIN_SAMPLES,
    TorchvisionFiles,
    download,
    get_reader,
    list_checksums,
)
from bench.data.images.dataset import HELD_OUT, ImageSet
from bench.data.images.image_data import ImageData, compute_moments
from bench.data.images.image_folder import explain_errors
from bench.data.interface.descriptor import Facts, hash_parts
from bench.data.interface.splits import Part, split_held_out
from bench.errors import UserError
from bench.files import hold_lock


class CifarSet(ImageSet):
    """CIFAR-10 or CIFAR-100 in a data root."""

    needs_root = True

    @property
    def summary(self) -> str:
        """Summary line for `freezebench list`."""
        return (
            f"needs a data root; {CLASSES[self.name]} classes, torchvision's files or the parquet "
            "files of the Hugging Face hub"
        )

    def describe(self, root: Path | None) -> Facts:
        """Return the facts of the data set.

        If the files are missing, the number of images is the published one.
        """
        files = find_files(self.name, root)
        samples = files.count_train_samples() if files else PUBLISHED_TRAIN_SAMPLES
        return Facts(CLASSES[self.name], samples)

    def fingerprint(self, root: Path | None) -> str:
        """Return a hash of torchvision's published checksums, or of the bytes of parquet files.

        A run that is planned without files gets the id of the files that would be downloaded.
        """
        files = find_files(self.name, root)
        text = files.identify_contents() if files else list_checksums(self.name)
        return hash_parts([text.encode()])

    def load(
        self, resolution: int, evaluate_on: Part, root: Path | None, fold: int = 0
    ) -> ImageData:
        """Load the training part and the test part.

        With evaluate_on="validation", a tenth of the training part is held out in place of the
        test part.
        """
        files = provide_files(self.name, root)
        if evaluate_on == "test":
            eval_images, eval_labels = files.read("test")
        images, labels = files.read("train")
        if evaluate_on == "validation":
            kept, held = split_held_out(labels, HELD_OUT)
            images, labels, eval_images, eval_labels = (
                images[kept], labels[kept], images[held], labels[held],
            )  # fmt: skip
        if resolution < images.shape[-1]:
            images, eval_images = resize(images, resolution), resize(eval_images, resolution)
        return ImageData(
            self.name, CLASSES[self.name], images, labels, eval_images, eval_labels,
            *compute_moments(images), flip=True,
        )  # fmt: skip


DATA_SETS = tuple(CifarSet(name) for name in CLASSES)


@explain_errors()
def find_files(name: str, root: Path | None) -> TorchvisionFiles | HubFiles | None:
    """Return the files of a data set below root, or None. torchvision's files take precedence."""
    places = _list_places(name, root) if root else []
    for find in (TorchvisionFiles.find, HubFiles.find, HubFiles.find_without_folder):
        for place in places:
            if files := find(name, place):
                return files
    return None


def _list_places(name: str, root: Path) -> list[Path]:
    """Return the folders that may contain the files: root, and folders named like the data set.

    The last folder is the snapshot in a cache of the huggingface_hub library.
    """
    places = [root, root / name, root / "uoft-cs" / name]
    cache = root / f"datasets--uoft-cs--{name}"
    revision = cache / "refs" / "main"
    if revision.is_file():
        places.append(cache / "snapshots" / revision.read_text().strip())
    return places


def provide_files(name: str, root: Path | None) -> TorchvisionFiles | HubFiles:
    """Return the files of a data set. Download them if root contains none.

    Raises UserError if root is not a folder, or if the download fails.
    """
    wanted = (
        f"{get_reader(name).base_folder}/ (torchvision's files) or {FOLDERS[name]}/ with "
        f"train-*.parquet and test-*.parquet (files of uoft-cs/{name} on the Hugging Face hub)"
    )
    if root is None:
        raise UserError(
            f"{name}: no data root; give --data-root DIR, a folder with {wanted}; if DIR has no "
            "such files, they are downloaded into it"
        )
    with explain_errors():
        is_folder = root.is_dir()
    if not is_folder:
        raise UserError(
            f"{name}: the data root {root} is not a folder; create it for a download, or give a "
            f"folder with {wanted}"
        )
    # The name depends on the user id, because a user cannot write to another user's lock file.
    word = hashlib.sha256(f"{os.getuid()} {root.resolve()}".encode()).hexdigest()[:12]
    # One process downloads while the others wait for the lock.
    with hold_lock(Path(tempfile.gettempdir(), f"freezebench-{name}-{word}.lock")):
        return find_files(name, root) or download(name, root, wanted)
