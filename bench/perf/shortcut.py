"""What a step costs with the frozen prefix cached or folded, beside the same step without."""

from __future__ import annotations

from collections.abc import Iterator

from bench.perf.figures import Figure, figure
from bench.perf.interleave import Contestant, interleaved, ratios
from bench.perf.models import PAPER
from bench.perf.subject import Harness, Settings, freeze_states, spec_of

LIMITS = {("resnet50", "prefix 50%"): "<= 0.80", ("resnet50", "prefix 75%"): "<= 0.60"}
WAYS = {
    "cached": {"cache_prefix": True},
    "folded": {"fold_norms": True},
}
KEPT = 2  # batches in an epoch, so that the cache is soon full


def measure(settings: Settings) -> Iterator[Figure]:
    """Step with a full cache, and with folded norms, over the step of the model as it is."""
    for model in settings.chosen(PAPER):
        small = {"train_limit": KEPT * settings.batch_size}
        harnesses = {
            name: Harness(spec_of(settings, model, **small, **way), settings.place)
            for name, way in {"plain": {}, **WAYS}.items()
        }
        states = freeze_states(len(harnesses["plain"].layers))
        for case in ("prefix 50%", "prefix 75%"):
            for harness in harnesses.values():
                for _ in range(KEPT):
                    harness.freeze(states[case])
            times = interleaved(
                {name: Contestant(harness.step) for name, harness in harnesses.items()},
                settings.torch_device,
                settings.seconds / 2,
            )
            for name in WAYS:
                limit = LIMITS.get((model, case), "") if name == "cached" else ""
                share = ratios(times[name], times["plain"])
                yield figure("shortcut", model, case, f"{name} / plain step", share, limit)
