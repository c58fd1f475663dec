"""Image data set in memory, and the mean and standard deviation of its pixels."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from bench.data.interface.splits import select_balanced


@dataclass(frozen=True)
class ImageData:
    """Labelled images in memory; callers must not write to the tensors.

    Attributes:
        name: name of the data set.
        classes: number of classes.
        train_images: uint8 (N, 3, R, R).
        train_labels: int64 (N,).
        eval_images: uint8 (N, 3, R, R).
        eval_labels: int64 (N,).
        mean: mean of the training pixels per channel (3,), with values in [0, 1].
        std: standard deviation of the training pixels per channel (3,).
        flip: whether a mirrored image keeps its label.
        eval_sources: int64 (N, k), the numbers of the k sources that each evaluation image was
            drawn from, such as a handwritten digit; None if every image is a source of its own.
    """

    name: str
    classes: int
    train_images: Tensor
    train_labels: Tensor
    eval_images: Tensor
    eval_labels: Tensor
    mean: Tensor
    std: Tensor
    flip: bool
    eval_sources: Tensor | None = None

    def limit(self, samples: int) -> ImageData:
        """Return the data set with at most `samples` training images, balanced over the classes."""
        chosen = select_balanced(self.train_labels, self.classes, samples)
        images, labels = self.train_images[chosen], self.train_labels[chosen]
        mean, std = compute_moments(images)
        return replace(self, train_images=images, train_labels=labels, mean=mean, std=std)


def compute_moments(images: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation (3,) of uint8 images (N, 3, R, R), scaled to [0, 1]."""
    # Sum in parts, because converting all images at once would take many times their memory.
    sums = torch.zeros(2, images.shape[1], dtype=torch.int64)
    for part in images.split(256):
        wide = part.int()
        sums += torch.stack([wide.sum(dim=(0, 2, 3)), wide.square_().sum(dim=(0, 2, 3))])
    pixels = images.shape[0] * images.shape[2] * images.shape[3]
    mean, squares = sums.double() / pixels
    std = (squares - mean.square()).clamp(min=1e-6).sqrt()
    return (mean / 255).float(), (std / 255).float()
