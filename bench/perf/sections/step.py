"""Time of a step of the harness relative to a step of the reference loop."""

from __future__ import annotations

import time
from collections.abc import Iterator

from bench.errors import Stopped
from bench.perf.harness import Harness, PerfSettings, build_reference_loop, make_spec
from bench.perf.interleaved_timing import (
    BLOCK_SECONDS,
    compute_ratios,
    read_clock,
    time_block,
    wait_for,
)
from bench.perf.measurement import Measurement, make_measurement
from bench.perf.median_interval import LEAST_ROUNDS
from bench.perf.subjects import SMALLEST, SUBJECTS
from bench.training.loop import train

LIMITS = {"resnet50": "<= 1.02", "deit_tiny_patch16_224": "<= 1.02", SMALLEST: "<= 1.10"}


def measure(settings: PerfSettings) -> Iterator[Measurement]:
    """Yield the step time of the unmodified training loop relative to the reference loop.

    The step time includes all work that the loop does between two steps.
    """
    for model in settings.select_models(SUBJECTS):
        turns = _LoopTimer(Harness(make_spec(settings, model), settings.place), settings)
        harness, reference = turns.take()
        limit = LIMITS.get(model, "")
        yield make_measurement(
            "step", model, "full", "harness / reference", compute_ratios(harness, reference), limit
        )
        yield make_measurement("step", model, "full", "reference step (s)", reference)


class _LoopTimer:
    """Timer that alternates blocks of steps of the harness's loop and of the reference loop.

    `train` calls `progress` once per step, so the time between two calls covers one complete
    iteration of its loop. The reference loop runs inside that callback.
    """

    def __init__(self, harness: Harness, settings: PerfSettings) -> None:
        self._harness, self._reference = harness, build_reference_loop(harness)
        self._device, self._seconds = settings.torch_device, settings.seconds
        self._times: tuple[list[float], list[float]] = ([], [])

    def take(self) -> tuple[list[float], list[float]]:
        """Return the seconds per step of the harness and of the reference loop, as two lists.

        Each list has one value per block.
        """
        for _ in range(2):  # the first steps allocate memory
            self._reference.step()
            self._harness.step()
        once = time_block(self._reference.step, 2, self._device)
        self._repeats = max(1, round(BLOCK_SECONDS / once))
        self._made = 0
        self._until = time.monotonic() + self._seconds
        self._began = read_clock(self._device)
        run, folder = self._harness.run, self._harness.folder
        try:
            train(
                run, folder, self._should_stop, self._record_step, checkpoint_seconds=float("inf")
            )
        except Stopped:
            folder.checkpoint.unlink()
        return self._times

    def _record_step(self, step: int, steps: int) -> None:
        self._made += 1
        if self._made < self._repeats:
            return
        wait_for(self._device)
        harness, reference = self._times
        harness.append((read_clock(self._device) - self._began) / self._made)
        reference.append(time_block(self._reference.step, self._repeats, self._device))
        self._made = 0
        self._began = read_clock(self._device)

    def _should_stop(self) -> bool:
        return time.monotonic() > self._until and len(self._times[0]) >= LEAST_ROUNDS
