"""How fast a device trains, for estimates before anything was timed."""

from __future__ import annotations

import re
from dataclasses import dataclass

from bench.errors import UserError


@dataclass(frozen=True)
class Speed:
    """A device by name and what it sustains while it trains, FLOP/s (1 multiply-add = 2)."""

    name: str
    flops: float

    def estimate_hours(self, flops: float) -> float:
        """Hours of one device for so many FLOPs."""
        return flops / self.flops / 3600


# Sustained in training, not a peak: NVIDIA's DeepLearningExamples report 938 images/s for
# ResNet-50 v1.5 on one A100 in TF32 at batch 256, times 24.3 GFLOPs an image as counted here.
# Batches of 32 and small models keep a GPU less busy: take it for the least to reckon with.
A100 = Speed("A100, TF32", 938 * 24.3e9)


def parse_speed(text: str) -> Speed:
    """A device's speed from NAME=NUMBER, in TFLOP/s; raises UserError if it is none."""
    name, equals, number = text.partition("=")
    found = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*(?:TFLOP/s)?\s*", number, re.IGNORECASE)
    if not equals or not name.strip() or not found or not float(found[1]):
        raise UserError(
            f"--device-speed {text!r} is not valid; give NAME=NUMBER in sustained TFLOP/s, as "
            "V100=8.9"
        )
    return Speed(name.strip(), float(found[1]) * 1e12)
