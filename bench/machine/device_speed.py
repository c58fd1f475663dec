"""Training speed of a device, for time estimates before any run was timed."""

from __future__ import annotations

import re
from dataclasses import dataclass

from bench.errors import UserError


@dataclass(frozen=True)
class Speed:
    """Name of a device, and its sustained training speed in FLOP/s (1 multiply-add = 2 FLOPs)."""

    name: str
    flops: float

    def estimate_hours(self, flops: float) -> float:
        """Return the hours that one device needs for the given FLOPs."""
        return flops / self.flops / 3600


# Sustained training speed, not peak speed. NVIDIA's DeepLearningExamples report 938 images/s for
# ResNet-50 v1.5 on one A100 in TF32 at batch size 256; this project counts 24.3 GFLOPs per image.
# Small models and batches of 32 use the GPU less well, so the estimated time is a lower bound.
A100 = Speed("A100, TF32", 938 * 24.3e9)

# Typical speed of one core on small batches; measure one run for a better number.
CORE = Speed("one CPU core", 2.0e10)


def parse_speed(text: str) -> Speed:
    """Return the speed given as NAME=NUMBER in TFLOP/s. Raises UserError for any other text."""
    name, equals, number = text.partition("=")
    found = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*(?:TFLOP/s)?\s*", number, re.IGNORECASE)
    if not equals or not name.strip() or not found or not float(found[1]):
        raise UserError(
            f"--device-speed {text!r} is not valid; pass NAME=NUMBER in sustained TFLOP/s, for "
            "example V100=8.9"
        )
    return Speed(name.strip(), float(found[1]) * 1e12)
