"""What a step costs with the frozen prefix cached or folded, beside the same step without."""

from __future__ import annotations

from collections.abc import Iterator

from bench.perf.harness import Harness, Settings, freeze_states, spec_of
from bench.perf.interleaved_timing import Contestant, interleaved, ratios
from bench.perf.measurement import Figure, figure
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


def measure(settings: Settings) -> Iterator[Figure]:
    """Step with a full cache, and with folded norms, over the step of the model as it is."""
    for model in settings.chosen(PAPER):
        sides = {settings.resolution, LARGER} if model == LIMITED else {settings.resolution}
        for side in sorted(sides):
            yield from _of_model(settings, model, side)


def _of_model(settings: Settings, model: str, side: int) -> Iterator[Figure]:
    small = {"train_limit": KEPT * settings.batch_size, "resolution": side}
    harnesses = {
        name: Harness(spec_of(settings, model, **small, **way), settings.place)
        for name, way in {"plain": {}, **WAYS}.items()
    }
    states = freeze_states(len(harnesses["plain"].layers))
    for case, limit in LIMITS.items():
        for harness in harnesses.values():
            for _ in range(KEPT):
                harness.freeze(states[case])
        times = interleaved(
            {name: Contestant(harness.step) for name, harness in harnesses.items()},
            settings.torch_device,
            settings.seconds / 2,
        )
        for name in WAYS:
            held = limit if (name, model) == ("cached", LIMITED) else ""
            share = ratios(times[name], times["plain"])
            where = f"{case} at {side} pixels"
            yield figure("prefix", model, where, f"{name} / plain step", share, held)
