"""What drawing, augmenting and normalising a batch costs beside the step that it feeds."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import count

from bench.perf.harness import Harness, Settings, spec_of
from bench.perf.interleaved_timing import Contestant, interleaved, ratios
from bench.perf.measurement import Figure, figure
from bench.perf.subjects import SUBJECTS


def measure(settings: Settings) -> Iterator[Figure]:
    """Time of a batch over time of a whole step that makes it, with and without augmentation."""
    for model in settings.chosen(SUBJECTS):
        for augment in ("none", "standard"):
            spec = spec_of(settings, model, augment=augment)
            harness, numbers = Harness(spec, settings.place), count()
            times = interleaved(
                {
                    "batch": Contestant(partial(_draw, harness, numbers)),
                    "step": Contestant(harness.step),
                },
                settings.torch_device,
                settings.seconds / 2,
            )
            share = ratios(times["batch"], times["step"])
            yield figure("pipeline", model, f"augment {augment}", "batch / step", share)


def _draw(harness: Harness, numbers: Iterator[int]) -> None:
    harness.run.batches.batch(next(numbers))
