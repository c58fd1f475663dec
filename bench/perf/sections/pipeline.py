"""Time to draw, augment and normalise a batch, relative to the training step that uses it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import count

from bench.perf.harness import Harness, PerfSettings, make_spec
from bench.perf.interleaved_timing import TimedCall, compute_ratios, time_interleaved
from bench.perf.measurement import Measurement, make_measurement
from bench.perf.subjects import SUBJECTS


def measure(settings: PerfSettings) -> Iterator[Measurement]:
    """Yield the ratio of batch time to step time, without and with augmentation.

    A step includes the time of its batch.
    """
    for model in settings.select_models(SUBJECTS):
        for augment in ("none", "standard"):
            spec = make_spec(settings, model, augment=augment)
            harness, numbers = Harness(spec, settings.place), count()
            times = time_interleaved(
                {
                    "batch": TimedCall(partial(_draw, harness, numbers)),
                    "step": TimedCall(harness.step),
                },
                settings.torch_device,
                settings.seconds / 2,
            )
            share = compute_ratios(times["batch"], times["step"])
            yield make_measurement("pipeline", model, f"augment {augment}", "batch / step", share)


def _draw(harness: Harness, numbers: Iterator[int]) -> None:
    harness.run.batches.batch(next(numbers))
