"""Example of a data set: images of horizontal and vertical stripes, drawn by a formula."""

from pathlib import Path

import torch

from bench.data.images.dataset import ImageSet
from bench.data.images.image_data import ImageData, compute_moments
from bench.data.interface.descriptor import Facts, hash_parts
from bench.data.interface.splits import Part

TRAIN, EVALUATION = 320, 200


class StripeSet(ImageSet):
    """Data set of two classes: horizontal stripes and vertical stripes, both in noise."""

    @property
    def summary(self) -> str:
        """Return one line for `freezebench list`."""
        return f"embedded; 2 classes, {TRAIN} training draws"

    def describe(self, root: Path | None) -> Facts:
        """Return the facts that are known without drawing the images."""
        return Facts(classes=2, train_samples=TRAIN)

    def fingerprint(self, root: Path | None) -> str:
        """Return a hash of everything that determines the images.

        The ids of runs depend on this hash.
        """
        return hash_parts([b"stripes 1", str((TRAIN, EVALUATION)).encode()])

    def load(
        self, resolution: int, evaluate_on: Part, root: Path | None, fold: int = 0
    ) -> ImageData:
        """Draw the training images and the images of the part that the run evaluates on."""
        images, labels = draw(TRAIN, resolution, seed=1)
        held, answers = draw(EVALUATION, resolution, seed=2 if evaluate_on == "test" else 3)
        return ImageData(
            self.name, 2, images, labels, held, answers, *compute_moments(images), flip=True
        )


DATA_SETS = (StripeSet("stripes"),)


def draw(count: int, side: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return uint8 images (count, 3, side, side) and int64 labels (count,)."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 2
    shift = torch.rand(count, 1, generator=generator) * 6.28
    wave = torch.sin(torch.linspace(0, 12.6, side) + shift)
    rows = wave[:, :, None].expand(count, side, side)
    images = torch.where(labels[:, None, None] == 0, rows, rows.transpose(1, 2))
    images = images + torch.randn(count, side, side, generator=generator)
    gray = (128 + 40 * images).clamp(0, 255).to(torch.uint8)
    return gray[:, None].expand(count, 3, side, side).contiguous(), labels
