"""Augmentation and normalisation of uint8 image batches, on the device that holds the images.

Random numbers come from a CPU generator that the caller passes, so every device uses the same ones.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.machine.to_device import move_to_device

NORMALISATIONS = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "half": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
}

Augment = Literal["none", "crop", "crop+flip"]
PADDING = 8  # a crop moves by at most side / PADDING, like the usual 4 of 32 pixels on CIFAR


def augment(
    images: Tensor, kind: Augment, generator: torch.Generator, start: int = 0, of: int = 0
) -> Tensor:
    """Shift each uint8 image (B, 3, R, R) at random; crop+flip also mirrors it with p = 0.5.

    kind: "none" returns the images unchanged and draws no random numbers.
    start, of: if `images` are part of a batch, the index of the first image in that batch, and the
    number of images of that batch. Each image then gets the same random numbers as in the whole
    batch. of = 0: `images` are the whole batch.
    Pixels beyond the border are mirrored from inside. The same generator state gives the same
    images.
    """
    if kind == "none":
        return images
    count, _, side, _ = images.shape
    reach, mine = side // PADDING, slice(start, start + count)
    shifts = torch.randint(-reach, reach + 1, (2, of or count, 1), generator=generator)[:, mine]
    down, across = _mirror_indices(shifts + torch.arange(side), side)
    if kind == "crop+flip":
        flipped = torch.rand(of or count, 1, generator=generator)[mine] < 0.5
        across = torch.where(flipped, across.flip(1), across)
    down, across = move_to_device(images.device, torch.stack([down, across]))
    each = torch.arange(count, device=images.device)[:, None, None]
    picked = images.permute(0, 2, 3, 1)[each, down[:, :, None], across[:, None, :]]
    return picked.permute(0, 3, 1, 2)


def _mirror_indices(index: Tensor, side: int) -> Tensor:
    """Reflect indices outside 0 … side − 1 at the border, without repeating the border pixel."""
    index = index.abs()
    return torch.where(index >= side, 2 * (side - 1) - index, index)


def normalise(images: Tensor, mean: Tensor, std: Tensor, resolution: int = 0) -> Tensor:
    """Convert uint8 images (B, 3, h, w) to float32 and normalise them.

    mean, std: (3,), of pixel values in [0, 1].
    resolution: if it is not 0, images of another size are first scaled to it (bilinear). Small
    originals can therefore stay small in memory.
    """
    pixels = images.float()
    if resolution and images.shape[-1] != resolution:
        pixels = _scale_pixels(pixels, resolution)
    scale = (1 / (255 * std)).view(1, 3, 1, 1)
    return torch.addcmul((-mean / std).view(1, 3, 1, 1), pixels, scale).contiguous()


def resize(images: Tensor, resolution: int) -> Tensor:
    """Resize uint8 images (N, 3, h, w) to (N, 3, resolution, resolution).

    Interpolation is bilinear, with antialiasing if the images shrink.
    """
    if images.shape[-2:] == (resolution, resolution):
        return images
    parts = [
        _scale_pixels(part.float(), resolution).round_().clamp_(0, 255).to(torch.uint8)
        for part in images.split(512)
    ]
    return torch.cat(parts)


def _scale_pixels(pixels: Tensor, resolution: int) -> Tensor:
    shrinks = resolution < pixels.shape[-1]
    return F.interpolate(
        pixels, (resolution, resolution), mode="bilinear", align_corners=False, antialias=shrinks
    )
