"""Base class of the descriptors of image data sets."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import ClassVar

from bench.data.images.image_data import ImageData
from bench.data.images.streaming import ImageStream
from bench.data.interface.descriptor import DataSet
from bench.data.interface.splits import Part
from bench.errors import UserError

HELD_OUT = 0.1  # share of the training images held out for validation, for data sets in files


class ImageSet(DataSet):
    """Descriptor of an image data set.

    folds: number of ways to split the data set into training and test parts. The seed of a run
    selects one split: fold = seed mod folds. With folds = 1, the split is fixed.
    """

    folds: ClassVar[int] = 1

    @abstractmethod
    def load(
        self, resolution: int, evaluate_on: Part, root: Path | None, fold: int = 0
    ) -> ImageData:
        """Load the data set into memory, with images of at most resolution × resolution pixels.

        Smaller originals keep their size. With evaluate_on="validation", the evaluation images
        come from the training part and the test images are not read. Raises UserError for missing
        or damaged files.
        """

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
        """Return a stream that decodes images batch by batch, or None if all fit in memory.

        workers: number of processes that decode; 0 = one per core, at most four.
        sequential: whether to read each tar shard from its beginning to its end.
        Raises UserError if `sequential` is true and the data set cannot have shards.
        """
        if sequential:
            raise UserError(
                f"{self.name}: sequential reads tar shards of images, which this data set does not "
                "have; set sequential = false"
            )
        return None
