"""What a step costs with the frozen prefix cached or folded, beside the same step without."""

from __future__ import annotations

from collections.abc import Iterator

from bench.perf.harness import Harness, PerfSettings, make_freeze_states, make_spec
from bench.perf.interleaved_timing import TimedCall, compute_ratios, time_interleaved
from bench.perf.measurement import Measurement, make_measurement
from bench.perf.subjects import PAPER

LIMITED = "resnet50"
LIMITS = {"prefix 50%": "<= 0.80", "prefix 75%": "<= 0.60"}
# A cached step is the rest of the model, whose last maps at 64 pixels are 2 x 2 and use a processor
# badly; the paper's, at 224, are 7 x 7.
LARGER = 96
WAYS = {
    "cached": {"cache_prefix": True},
    "folded": {"fold_norms": True},
}
KEPT = 2  # batches in an epoch, so that the cache is soon full


def measure(settings: PerfSettings) -> Iterator[Measurement]:
    """Step with a full cache, and with folded norms, over the step of the model as it is."""
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
