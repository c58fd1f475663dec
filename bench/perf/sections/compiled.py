"""What a compiled step costs beside an eager one, and how long it takes to compile."""

from __future__ import annotations

from collections.abc import Iterator

from bench.perf.harness import Harness, Settings, freeze_states, spec_of
from bench.perf.interleaved_timing import Contestant, interleaved, ratios
from bench.perf.measurement import Figure, figure
from bench.perf.subjects import SMALLEST

MODELS = (SMALLEST, "resnet50", "deit_tiny_patch16_224")
FIRST_STEPS = 3  # as many as build the graph, and one more


def measure(settings: Settings) -> Iterator[Figure]:
    """Step over step with nothing frozen and half as a prefix; seconds on the wall to compile."""
    for model in settings.chosen(MODELS):
        eager = Harness(spec_of(settings, model), settings.place)
        compiled = Harness(spec_of(settings, model, compiled=True), settings.place)
        half = freeze_states(len(eager.layers))["prefix 50%"]
        for case, frozen in {"full": frozenset[int](), "prefix 50%": half}.items():
            for harness in (eager, compiled):
                for _ in range(FIRST_STEPS):
                    harness.freeze(frozen)
            times = interleaved(
                {"eager": Contestant(eager.step), "compiled": Contestant(compiled.step)},
                settings.torch_device,
                settings.seconds,
            )
            share = ratios(times["compiled"], times["eager"])
            yield figure("compiled", model, case, "compiled / eager step", share)
            seconds = compiled.run.accounting.now.compile_s
            yield figure("compiled", model, case, "compile (s)", [seconds])
