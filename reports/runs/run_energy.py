"""Energy of a run, from its result.json."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.errors import UserError

ENERGY = ("energy_j", "idle_watts")  # columns of the run table


def parse_energy(result: Mapping[str, Any], path: Path) -> dict[str, float]:
    """Return the columns ENERGY of a run: joules in training, and idle power before it, in watts.

    Both are those of the device that trains: the GPU, or else the CPU packages. They are NaN if the
    run shared the device, if the machine has no counter, and for results of earlier releases.
    Raises UserError that names the file if the values are damaged.
    """
    measured = result.get("energy") or {}
    try:
        device = measured.get("gpu") or measured.get("cpu") or {}
        joules, watts = device.get("joules"), device.get("idle_watts")
        if joules is None or watts is None:
            return dict.fromkeys(ENERGY, math.nan)
        return dict(zip(ENERGY, (float(joules), float(watts)), strict=True))
    except (AttributeError, TypeError, ValueError):
        raise UserError(f"{path}: energy is damaged; delete its folder to run it again") from None
