"""Rendering of small grey shapes as RGB images with random jitter, colours and noise."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from torch import Tensor

CHUNK = 2048  # images drawn at once, to limit memory


@dataclass(frozen=True)
class DrawingStyle:
    """Amount of random variation between images.

    Lengths are fractions of the canvas, angles are in degrees, grey values go from 0 to 1.
    inverted: share of images with dark shapes on a light ground.
    bars: number of lines that are drawn as clutter.
    noise_spread: the noise of each image is drawn from [noise - noise_spread, noise].
    """

    size: float = 0.8
    rotation: float = 5.0
    stretch: float = 0.1
    shear: float = 0.1
    shift: float = 0.03
    contrast: float = 0.5
    noise: float = 0.15
    noise_spread: float = 0.0
    ground: float = 0.5
    tint: float = 0.1
    inverted: float = 0.0
    bars: int = 0

    def identity(self) -> str:
        """Return every field and its value as text; fingerprints of data sets hash this text."""
        return " ".join(f"{f.name}={getattr(self, f.name)!r}" for f in fields(self))


def paint(
    shapes: Tensor, look: DrawingStyle, resolution: int, generator: torch.Generator
) -> Tensor:
    """Draw shapes (N, K, h, w), grey in [0, 1], as N images with K shapes side by side.

    Returns uint8 (N, 3, resolution, resolution). Each shape gets its own jitter. The shapes of an
    image share its colours. The same generator state gives bit-identical images.
    """
    parts = [
        _paint(part, look, resolution, generator) for part in torch.split(shapes, CHUNK, dim=0)
    ]
    return torch.cat(parts)


def _paint(
    shapes: Tensor, look: DrawingStyle, resolution: int, generator: torch.Generator
) -> Tensor:
    count, slots, height, width = shapes.shape
    theta = _draw_jitter(count, slots, look, generator)
    grid = F.affine_grid(
        theta.flatten(0, 1), [count * slots, 1, resolution, resolution], align_corners=False
    )
    inked = F.grid_sample(
        shapes.reshape(count * slots, 1, height, width).float(), grid, align_corners=False
    )
    ink = inked.view(count, slots, resolution, resolution).amax(dim=1)
    for _ in range(look.bars):
        ink = torch.maximum(ink, _draw_bar(count, resolution, generator))
    paper, pen = _draw_colours(count, look, generator)
    image = paper + ink[:, None] * (pen - paper)
    noise = look.noise - look.noise_spread * torch.rand(count, 1, 1, 1, generator=generator)
    image += noise * torch.randn(image.shape, generator=generator)
    return (image * 255).round_().clamp_(0, 255).to(torch.uint8)


def _draw_jitter(count: int, slots: int, look: DrawingStyle, generator: torch.Generator) -> Tensor:
    """Draw affine maps (count, slots, 2, 3) from canvas to shape coordinates."""

    def spread(width: float) -> Tensor:
        return (torch.rand(count, slots, generator=generator) * 2 - 1) * width

    angle = spread(math.radians(look.rotation))
    across = look.size / slots**0.75 * (1 + spread(look.stretch))
    down = look.size / slots**0.75 * (1 + spread(look.stretch))
    shear = spread(look.shear)
    home = (torch.arange(slots) * 2 + 1) / slots - 1
    x = home + spread(2 * look.shift)
    y = spread(2 * look.shift)
    cos, sin = torch.cos(angle), torch.sin(angle)
    rows = [(cos + shear * sin) / across, (sin - shear * cos) / across, -sin / down, cos / down]
    turn = torch.stack(rows, dim=-1).view(count, slots, 2, 2)
    move = -turn @ torch.stack([x, y], dim=-1)[..., None]
    return torch.cat([turn, move], dim=-1)


def _draw_colours(
    count: int, look: DrawingStyle, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Draw the colours of paper and pen, each (count, 3, 1, 1).

    Their mean brightness differs by at least look.contrast.
    """
    gap = look.contrast + (0.9 - look.contrast) * torch.rand(count, 1, generator=generator)
    low = look.ground * (1 - gap) * torch.rand(count, 1, generator=generator)
    swap = torch.rand(count, 1, generator=generator) < look.inverted
    tint = look.tint * torch.randn(2, count, 3, generator=generator)
    tint -= tint.mean(dim=2, keepdim=True)
    paper = torch.where(swap, low + gap, low) + tint[0]
    pen = torch.where(swap, low, low + gap) + tint[1]
    return paper.view(count, 3, 1, 1), pen.view(count, 3, 1, 1)


def _draw_bar(count: int, resolution: int, generator: torch.Generator) -> Tensor:
    """Draw one thin straight line per image as clutter.

    Returns ink in [0, 1], (count, resolution, resolution).
    """
    angle = math.pi * torch.rand(count, 1, 1, generator=generator)
    offset = torch.rand(count, 1, 1, generator=generator) * 1.6 - 0.8
    axis = (torch.arange(resolution) * 2 + 1) / resolution - 1
    distance = torch.cos(angle) * axis[None, None, :] + torch.sin(angle) * axis[None, :, None]
    return (1.5 - (distance - offset).abs() * resolution / 2).clamp(0, 1)
