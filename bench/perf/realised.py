"""How much of the computation that freezing saves is saved in time, and by the best hand too."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from bench.perf.bare import BareLoop
from bench.perf.figures import Figure, figure
from bench.perf.interleave import Contestant, interleaved, ratios
from bench.perf.subject import (
    PAPER,
    Harness,
    Settings,
    bare_beside,
    freeze_states,
    spec_of,
)

FULL = "full"


def measure(settings: Settings) -> Iterator[Figure]:
    """Time saved at prefixes and random masks, over FLOPs saved and over the best hand's saving."""
    for model in PAPER:
        yield from _of_model(settings, model)


def _of_model(settings: Settings, model: str) -> Iterator[Figure]:
    harness = Harness(spec_of(settings, model), settings.place)
    bare, flops = bare_beside(harness), harness.run.flops
    states = {FULL: frozenset[int](), **freeze_states(len(harness.layers))}
    contestants: dict[str, Contestant] = {}
    for case, frozen in states.items():
        contestants[f"harness {case}"] = Contestant(harness.step, partial(harness.freeze, frozen))
        contestants[f"bare {case}"] = Contestant(bare.step, partial(_freeze_bare, bare, frozen))
    times = interleaved(contestants, settings.torch_device, settings.seconds)
    for case, frozen in states.items():
        if case == FULL:
            continue
        saved = _saved(times[f"harness {case}"], times[f"harness {FULL}"])
        by_hand = _saved(times[f"bare {case}"], times[f"bare {FULL}"])
        in_paper = 1 - flops.paper(frozen).total / flops.paper().total
        in_exact = 1 - flops.exact(frozen).total / flops.exact().total
        tell = partial(figure, "realised", model, case)
        yield tell("time saved", saved)
        yield tell("FLOPs saved (paper)", [in_paper])
        yield tell("FLOPs saved (exact)", [in_exact])
        yield tell("realised (paper)", [s / in_paper for s in saved])
        yield tell("realised (exact)", [s / in_exact for s in saved])
        yield tell("time saved by hand", by_hand)
        yield tell("harness / hand, saved", ratios(saved, by_hand), ">= 0.95")
        steps = ratios(times[f"harness {case}"], times[f"bare {case}"])
        yield tell("harness / hand, step", steps)


def _freeze_bare(bare: BareLoop, frozen: frozenset[int]) -> None:
    bare.freeze(frozen)
    bare.step()


def _saved(frozen: list[float], full: list[float]) -> list[float]:
    return [1 - ratio for ratio in ratios(frozen, full)]
