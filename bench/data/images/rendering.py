"""How small grey shapes become noisy RGB images: one draw is jitter, colours and noise."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

CHUNK = 2048  # draws made at once, so that memory stays small


@dataclass(frozen=True)
class DrawingStyle:
    """How much a draw varies. Lengths are fractions of the canvas, angles degrees, grey 0 to 1;
    inverted is the share of dark shapes on a light ground."""

    size: float = 0.8
    rotation: float = 5.0
    stretch: float = 0.1
    shear: float = 0.1
    shift: float = 0.03
    contrast: float = 0.5
    noise: float = 0.15
    ground: float = 0.5
    tint: float = 0.1
    inverted: float = 0.0
    bars: int = 0

    def identity(self) -> str:
        """Return the text that the fingerprints of data sets hash.

        Run ids depend on it, so its words stay, whatever this class and its fields are called.
        """
        return (
            f"Look(size={self.size!r}, rotation={self.rotation!r}, stretch={self.stretch!r}, "
            f"shear={self.shear!r}, shift={self.shift!r}, contrast={self.contrast!r}, "
            f"noise={self.noise!r}, ground={self.ground!r}, tint={self.tint!r}, "
            f"inverted={self.inverted!r}, bars={self.bars!r})"
        )


def paint(
    shapes: Tensor, look: DrawingStyle, resolution: int, generator: torch.Generator
) -> Tensor:
    """Draw shapes (N, K, h, w), grey in [0, 1], side by side on N canvases.

    Returns uint8 (N, 3, resolution, resolution). The K shapes of a canvas get jitter of their
    own and share its colours. The same generator state gives the same bits.
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
    image += look.noise * torch.randn(image.shape, generator=generator)
    return (image * 255).round_().clamp_(0, 255).to(torch.uint8)


def _draw_jitter(count: int, slots: int, look: DrawingStyle, generator: torch.Generator) -> Tensor:
    """Affine maps (count, slots, 2, 3) from canvas to shape coordinates."""

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
    """Paper and pen (count, 3, 1, 1), whose mean brightness differs by at least the contrast."""
    gap = look.contrast + (0.9 - look.contrast) * torch.rand(count, 1, generator=generator)
    low = look.ground * (1 - gap) * torch.rand(count, 1, generator=generator)
    swap = torch.rand(count, 1, generator=generator) < look.inverted
    tint = look.tint * torch.randn(2, count, 3, generator=generator)
    tint -= tint.mean(dim=2, keepdim=True)
    paper = torch.where(swap, low + gap, low) + tint[0]
    pen = torch.where(swap, low, low + gap) + tint[1]
    return paper.view(count, 3, 1, 1), pen.view(count, 3, 1, 1)


def _draw_bar(count: int, resolution: int, generator: torch.Generator) -> Tensor:
    """Thin straight lines (count, resolution, resolution) in the pen's colour, as clutter."""
    angle = math.pi * torch.rand(count, 1, 1, generator=generator)
    offset = torch.rand(count, 1, 1, generator=generator) * 1.6 - 0.8
    axis = (torch.arange(resolution) * 2 + 1) / resolution - 1
    distance = torch.cos(angle) * axis[None, None, :] + torch.sin(angle) * axis[None, :, None]
    return (1.5 - (distance - offset).abs() * resolution / 2).clamp(0, 1)
