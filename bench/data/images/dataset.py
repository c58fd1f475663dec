"""Descriptor of a set of images."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path

from bench.data.images.image_data import ImageData
from bench.data.images.streaming import ImageStream
from bench.data.interface.descriptor import DataSet
from bench.data.interface.splits import Part

HELD_OUT = 0.1  # share of the training images that validation takes where files are read


class ImageSet(DataSet):
    """Descriptor of a set of images."""

    @abstractmethod
    def load(self, resolution: int, evaluate_on: Part, root: Path | None) -> ImageData:
        """Load the set with images of at most resolution × resolution, in memory.

        Smaller originals keep their size. With evaluate_on="validation" the evaluation images
        come from the training part and test images are not read. Raises UserError for missing or
        damaged files.
        """

    def stream(
        self,
        resolution: int,
        evaluate_on: Part,
        root: Path | None,
        *,
        train_limit: int,
        workers: int,
    ) -> ImageStream | None:
        """Return the set as a stream decoded batch by batch if it is too large for memory.

        workers: processes that decode; 0 = one a core, at most four.
        """
        return None
