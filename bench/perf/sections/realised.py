"""How much of the computation that freezing saves is saved in time, and by the best hand too."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from statistics import median

from bench.perf.dispatched_operators import unlike
from bench.perf.harness import Harness, Settings, bare_beside, freeze_states, spec_of
from bench.perf.interleaved_timing import Heat, in_heats, ratios
from bench.perf.measurement import Figure, figure
from bench.perf.reference_loop import BareLoop
from bench.perf.subjects import PAPER

FULL = "full"
TURNS = 3  # steps of each between two changes of what is frozen


def measure(settings: Settings) -> Iterator[Figure]:
    """Time saved at prefixes and random masks, over FLOPs saved and over the best hand's saving."""
    for model in settings.chosen(PAPER):
        yield from _of_model(settings, model)


def _of_model(settings: Settings, model: str) -> Iterator[Figure]:
    harness = Harness(spec_of(settings, model), settings.place)
    bare, flops = bare_beside(harness), harness.run.flops
    states = {FULL: frozenset[int](), **freeze_states(len(harness.layers))}
    for case, frozen in states.items():
        yield from _work(model, case, harness, bare, frozen)
    heats = [
        Heat(
            {f"harness {case}": harness.step, f"bare {case}": bare.step},
            partial(_freeze, harness, bare, frozen),
            TURNS,
        )
        for case, frozen in states.items()
    ]
    times = in_heats(heats, settings.torch_device, settings.seconds)
    full_steps = ratios(times[f"harness {FULL}"], times[f"bare {FULL}"])
    for case, frozen in states.items():
        tell = partial(figure, "realised", model, case)
        steps = ratios(times[f"harness {case}"], times[f"bare {case}"])
        yield tell("harness / hand, step", steps)
        if case == FULL:
            continue
        saved = _saved(times[f"harness {case}"], times[f"harness {FULL}"])
        by_hand = _saved(times[f"bare {case}"], times[f"bare {FULL}"])
        in_paper = 1 - flops.paper(frozen).total / flops.paper().total
        in_exact = 1 - flops.exact(frozen).total / flops.exact().total
        yield tell("time saved", saved)
        yield tell("FLOPs saved (paper)", [in_paper])
        yield tell("FLOPs saved (exact)", [in_exact])
        yield tell("realised (paper)", [s / in_paper for s in saved])
        yield tell("realised (exact)", [s / in_exact for s in saved])
        yield tell("time saved by hand", by_hand)
        share = saved_beside(ratios(steps, full_steps), median(by_hand))
        yield tell("harness / hand, saved", share, ">= 0.95")


def _work(
    model: str, case: str, harness: Harness, bare: BareLoop, frozen: frozenset[int]
) -> Iterator[Figure]:
    """Operators of one step that only one of the two carries out; the same number with and
    without frozen layers where freezing leaves nothing to do that the hand leaves out.
    """
    _freeze(harness, bare, frozen)
    mine, hands = unlike(harness.step, bare.step)
    yield figure("realised", model, case, "operators, harness only", [mine])
    yield figure("realised", model, case, "operators, hand only", [hands])


def saved_beside(kept: Sequence[float], by_hand: float) -> list[float]:
    """The share of time saved over the share that the hand saves, a value a round.

    kept: what a step still costs, the harness's over the hand's, both as shares of their own full
    steps. by_hand: the hand's share, its median. A round's own ratio of two small savings would be
    mostly noise.
    """
    return [(1 - ratio * (1 - by_hand)) / by_hand for ratio in kept]


def _freeze(harness: Harness, bare: BareLoop, frozen: frozenset[int]) -> None:
    """Freeze these layers and no others in both, and make a first step, which allocates."""
    harness.freeze(frozen)
    bare.freeze(frozen)
    bare.step()


def _saved(frozen: list[float], full: list[float]) -> list[float]:
    return [1 - ratio for ratio in ratios(frozen, full)]
