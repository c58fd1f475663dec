"""What a compiled step costs beside an eager one, and how long it takes to compile."""

from __future__ import annotations

from collections.abc import Iterator

from bench.perf.harness import Harness, PerfSettings, make_freeze_states, make_spec
from bench.perf.interleaved_timing import TimedCall, compute_ratios, time_interleaved
from bench.perf.measurement import Measurement, make_measurement
from bench.perf.subjects import SMALLEST

MODELS = (SMALLEST, "resnet50", "deit_tiny_patch16_224")
FIRST_STEPS = 3  # as many as build the graph, and one more


def measure(settings: PerfSettings) -> Iterator[Measurement]:
    """Step over step with nothing frozen and half as a prefix; seconds on the wall to compile."""
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
