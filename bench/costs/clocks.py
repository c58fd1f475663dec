"""Wall and CPU time of a run, split into regions: train, decide, evaluate, prepare.

Exactly one region is active at any time, so the regions always sum to the total. The device is
synchronised when a region begins or ends and when the clocks are read. `time_inside_step` does not
synchronise a CUDA device.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

REGIONS = ("train", "decide", "evaluate", "prepare")


class Clocks:
    """Wall and CPU seconds per region. A run begins in `prepare`."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._cuda = device.type == "cuda"
        self.wall = dict.fromkeys(REGIONS, 0.0)
        self.cpu = dict.fromkeys(REGIONS, 0.0)
        self._region = "prepare"
        self._wall_from, self._cpu_from = time.perf_counter(), time.process_time()
        self._events: list[tuple[str, Any, Any, float]] = []

    @contextmanager
    def time_region(self, name: str) -> Iterator[None]:
        """Charge the time inside the block to a region, then return to the previous region."""
        outer = self._enter(name)
        try:
            yield
        finally:
            self._enter(outer)

    @contextmanager
    def time_inside_step(self, name: str) -> Iterator[None]:
        """Charge the time inside the block to a region, without synchronising the device.

        On CUDA, events record the beginning and end of the block. The next synchronisation moves
        the time of the block from the surrounding region to region `name`. Do not nest other
        regions inside the block.
        """
        if not self._cuda:
            outer = self._enter(name)
            try:
                yield
            finally:
                self._enter(outer)
            return
        _check(name)
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        cpu_from = time.process_time()
        begin.record()
        try:
            yield
        finally:
            end.record()
            self._events.append((name, begin, end, time.process_time() - cpu_from))

    def read(self) -> dict[str, dict[str, float]]:
        """Return the seconds so far: {"wall": {region: s, "whole": s}, "cpu": {...}}."""
        self._enter(self._region)
        return {
            "wall": {**self.wall, "whole": sum(self.wall.values())},
            "cpu": {**self.cpu, "whole": sum(self.cpu.values())},
        }

    def restore(self, read: dict[str, dict[str, float]]) -> None:
        """Add the seconds that `read` returned in an earlier, interrupted part of the run."""
        for name in REGIONS:
            self.wall[name] += read["wall"][name]
            self.cpu[name] += read["cpu"][name]

    def _enter(self, name: str) -> str:
        _check(name)
        if self._cuda:
            torch.cuda.synchronize(self._device)
        wall, cpu = time.perf_counter(), time.process_time()
        self.wall[self._region] += wall - self._wall_from
        self.cpu[self._region] += cpu - self._cpu_from
        self._wall_from, self._cpu_from = wall, cpu
        for moved, begin, end, cpu_seconds in self._events:
            seconds = begin.elapsed_time(end) / 1000
            self.wall[self._region] -= seconds
            self.wall[moved] += seconds
            self.cpu[self._region] -= cpu_seconds
            self.cpu[moved] += cpu_seconds
        self._events.clear()
        outer, self._region = self._region, name
        return outer


def _check(name: str) -> None:
    if name not in REGIONS:
        raise ValueError(f"unknown region {name!r}; valid: {', '.join(REGIONS)}")
