"""Time of a step with a cached or folded frozen prefix, relative to an unmodified step."""

from __future__ import annotations

from collections.abc import Iterator

from bench.perf.harness import Harness, PerfSettings, make_freeze_states, make_spec
from bench.perf.interleaved_timing import TimedCall, compute_ratios, time_interleaved
from bench.perf.measurement import Measurement, make_measurement
from bench.perf.subjects import PAPER

LIMITED = "resnet50"
LIMITS = {"prefix 50%": "<= 0.80", "prefix 75%": "<= 0.60"}
# With a cached prefix, a step runs only the rest of the model. At 64 pixels the last feature maps
# of ResNet-50 are 2 x 2, on which convolutions are inefficient. At the paper's 224 pixels they are
# 7 x 7.
LARGER = 96
WAYS = {
    "cached": {"cache_prefix": True},
    "folded": {"fold_norms": True},
}
KEPT = 2  # batches per epoch, so that two steps fill the cache


def measure(settings: PerfSettings) -> Iterator[Measurement]:
    """Yield the step time with a full cache and with folded norms, over the plain step time."""
    for model in settings.select_models(PAPER):
        sides = {settings.resolution, LARGER} if model == LIMITED else {settings.resolution}
        for side in sorted(sides):
            yield from _measure_model(settings, model, side)


def _measure_model(settings: PerfSettings, model: str, side: int) -> Iterator[Measurement]:
    small = {"train_limit": KEPT * settings.batch_size, "resolution": side}
    harnesses = {
        name: Harness(make_spec(settings, model, **small, **way), settings.place)
        for name, way in {"plain": {}, **WAYS}.items()
    }
    states = make_freeze_states(len(harnesses["plain"].layers))
    for case, limit in LIMITS.items():
        for harness in harnesses.values():
            for _ in range(KEPT):
                harness.freeze(states[case])
        times = time_interleaved(
            {name: TimedCall(harness.step) for name, harness in harnesses.items()},
            settings.torch_device,
            settings.seconds / 2,
        )
        for name in WAYS:
            held = limit if (name, model) == ("cached", LIMITED) else ""
            share = compute_ratios(times[name], times["plain"])
            where = f"{case} at {side} pixels"
            yield make_measurement("prefix", model, where, f"{name} / plain step", share, held)
