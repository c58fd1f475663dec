"""Time that freezing saves in the harness, relative to the FLOPs saved and the reference loop."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from statistics import median

from bench.perf.dispatched_operators import compare_operators
from bench.perf.harness import Harness, PerfSettings, build_reference_loop, make_spec
from bench.perf.interleaved_timing import TimingGroup, compute_ratios, time_groups
from bench.perf.measurement import Measurement, make_measurement
from bench.perf.reference_loop import ReferenceLoop
from bench.perf.subjects import PAPER

NOTHING_FROZEN = "full"
TURNS = 3  # timed blocks of each loop between two changes of the freeze state


def measure(settings: PerfSettings) -> Iterator[Measurement]:
    """Yield the share of time that each freeze state saves.

    Further values compare this share with the FLOPs saved, and with the time and the operators of
    the reference loop.
    """
    for model in settings.select_models(PAPER):
        yield from _measure_model(settings, model)


def _measure_model(settings: PerfSettings, model: str) -> Iterator[Measurement]:
    harness = Harness(make_spec(settings, model), settings.place)
    reference, flops = build_reference_loop(harness), harness.run.flops
    states = {NOTHING_FROZEN: frozenset[int](), **settings.select_states(len(harness.layers))}
    for case, frozen in states.items():
        yield from _compare_work(model, case, harness, reference, frozen)
    groups = [
        TimingGroup(
            {f"harness {case}": harness.step, f"reference {case}": reference.step},
            partial(_freeze, harness, reference, frozen),
            TURNS,
        )
        for case, frozen in states.items()
    ]
    times = time_groups(groups, settings.torch_device, settings.seconds)
    full_steps = compute_ratios(
        times[f"harness {NOTHING_FROZEN}"], times[f"reference {NOTHING_FROZEN}"]
    )
    for case, frozen in states.items():
        tell = partial(make_measurement, "realised", model, case)
        steps = compute_ratios(times[f"harness {case}"], times[f"reference {case}"])
        yield tell("harness / reference, step", steps)
        if case == NOTHING_FROZEN:
            continue
        saved = _compute_saving(times[f"harness {case}"], times[f"harness {NOTHING_FROZEN}"])
        reference_saving = _compute_saving(
            times[f"reference {case}"], times[f"reference {NOTHING_FROZEN}"]
        )
        in_paper = 1 - flops.paper(frozen).total / flops.paper().total
        in_exact = 1 - flops.exact(frozen).total / flops.exact().total
        yield tell("time saved", saved)
        yield tell("FLOPs saved (paper)", [in_paper])
        yield tell("FLOPs saved (exact)", [in_exact])
        yield tell("realised (paper)", [s / in_paper for s in saved])
        yield tell("realised (exact)", [s / in_exact for s in saved])
        yield tell("time saved by the reference", reference_saving)
        share = compare_savings(compute_ratios(steps, full_steps), median(reference_saving))
        yield tell("harness / reference, saved", share, ">= 0.95")


def _compare_work(
    model: str, case: str, harness: Harness, reference: ReferenceLoop, frozen: frozenset[int]
) -> Iterator[Measurement]:
    """Yield the number of operators that only the harness, or only the reference loop, runs.

    If the numbers are the same with and without frozen layers, freezing saves the harness the
    same operators as the reference loop.
    """
    _freeze(harness, reference, frozen)
    mine, theirs = compare_operators(harness.step, reference.step)
    yield make_measurement("realised", model, case, "operators, harness only", [mine])
    yield make_measurement("realised", model, case, "operators, reference only", [theirs])


def compare_savings(kept: Sequence[float], reference_saving: float) -> list[float]:
    """Return the harness's share of time saved over the reference loop's, one value per round.

    kept: one value per round. The value is the harness's step time as a share of its step time
        without frozen layers, divided by the same share of the reference loop.
    reference_saving: median share of time that the reference loop saves. In one round, the ratio of
        two small savings would be mostly noise.
    """
    return [(1 - ratio * (1 - reference_saving)) / reference_saving for ratio in kept]


def _freeze(harness: Harness, reference: ReferenceLoop, frozen: frozenset[int]) -> None:
    """Freeze exactly these layers in both loops and take a first step, which allocates memory."""
    harness.freeze(frozen)
    reference.freeze(frozen)
    reference.step()


def _compute_saving(frozen: list[float], full: list[float]) -> list[float]:
    return [1 - ratio for ratio in compute_ratios(frozen, full)]
