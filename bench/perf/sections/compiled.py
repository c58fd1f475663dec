"""Time of a compiled step relative to an eager step, and the compile time."""

from __future__ import annotations

from collections.abc import Iterator

from bench.perf.harness import Harness, PerfSettings, make_freeze_states, make_spec
from bench.perf.interleaved_timing import TimedCall, compute_ratios, time_interleaved
from bench.perf.measurement import Measurement, make_measurement
from bench.perf.subjects import SMALLEST

MODELS = (SMALLEST, "resnet50", "deit_tiny_patch16_224")
FIRST_STEPS = 3  # up to two steps build the graph; one more runs it


def measure(settings: PerfSettings) -> Iterator[Measurement]:
    """Yield the step time ratio and the compile time in wall seconds.

    Both are measured with no layer frozen and with the first half frozen.
    """
    for model in settings.select_models(MODELS):
        eager = Harness(make_spec(settings, model), settings.place)
        compiled = Harness(make_spec(settings, model, compiled=True), settings.place)
        half = make_freeze_states(len(eager.layers))["prefix 50%"]
        for case, frozen in {"full": frozenset[int](), "prefix 50%": half}.items():
            for harness in (eager, compiled):
                for _ in range(FIRST_STEPS):
                    harness.freeze(frozen)
            times = time_interleaved(
                {"eager": TimedCall(eager.step), "compiled": TimedCall(compiled.step)},
                settings.torch_device,
                settings.seconds,
            )
            share = compute_ratios(times["compiled"], times["eager"])
            yield make_measurement("compiled", model, case, "compiled / eager step", share)
            seconds = compiled.run.accounting.now.compile_s
            yield make_measurement("compiled", model, case, "compile (s)", [seconds])
