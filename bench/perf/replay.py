"""Time of a finished run relative to full training, reconstructed from interleaved steps.

The clocks of a run include the effect of other processes on the machine. The freeze states and
their sample counts are recorded exactly, so the time can be reconstructed. One process times a step
of each freeze state alternately with a step of full training. Each round gives one estimate of the
run's time as a share of full training. The strategy's cost is added as a ratio: decide time over
train time in the run's CPU clocks (wall clocks on a GPU).
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from bench.errors import UserError
from bench.machine.environment import get_commit, get_device_name
from bench.perf.harness import Harness
from bench.perf.interleaved_timing import TimedCall, name_clock, time_interleaved
from bench.perf.median_interval import CONFIDENCE, LEAST_ROUNDS, compute_median_interval
from bench.results.run_folder import RunFolder
from bench.spec import FULL, Spec

FILE = "retime.json"


def find_timing_obstacle(spec: Spec, result: Mapping[str, Any] | None = None) -> str:
    """Return why the steps of a run cannot be timed again, or "" if nothing prevents this.

    result: contents of its result.json, if the run is done.
    """
    if spec.cache_prefix:
        return "the step time with cache_prefix depends on the contents of the cache"
    if spec.compiled:
        return "with compiled, each change of the timed freeze state would compile the step again"
    if spec.replicas > 1:
        return "with replicas, a step needs several processes"
    if result and any(state["frozen"] is None for state in result["freeze_states"]):
        return "its result does not list all of its freeze states"
    return ""


def retime(spec: Spec, results: Path, seconds: float) -> dict[str, Any]:
    """Time the freeze states of a finished run; write and return the contents of retime.json.

    seconds: measuring time.
    The field `time_ratio` is the train and decide time of the run, divided by the train time of
    full training. Full training takes all epochs of the spec.
    Raises UserError if the run is not done, diverged, or cannot be timed again.
    """
    folder = RunFolder(results, spec.id)
    if not folder.done:
        raise UserError(f"{spec.label}: has no result yet; finish the run before timing it again")
    result = folder.result()
    if result["status"] != "done":
        raise UserError(f"{spec.label}: diverged, so it cannot be timed again")
    if reason := find_timing_obstacle(spec, result):
        raise UserError(f"{spec.label}: cannot be timed again, because {reason}")
    states = [state for state in result["freeze_states"] if state["steps"]]
    with tempfile.TemporaryDirectory() as place:
        times, samples, device = _time_states(spec, results, Path(place), states, seconds)
    clocks = result["cpu"] if spec.device == "cpu" else result["clocks"]
    decide = clocks["decide"] / clocks["train"]
    ratios = [
        (1 + decide)
        * sum(s["samples"] * times[_name_state(s)][i] for s in states)
        / (samples * full)
        for i, full in enumerate(times[FULL])
    ]
    low, high = compute_median_interval(ratios)
    timing = {
        "id": spec.id,
        "device": get_device_name(device),
        "clock": name_clock(device),
        "threads": spec.threads,
        "commit": get_commit(),
        "rounds": len(ratios),
        "confidence": CONFIDENCE,
        "decide_share": decide,
        "full_step_s": statistics.median(times[FULL]),
        "states": [
            {
                "from_step": s["from_step"],
                "steps": s["steps"],
                "step_s": statistics.median(times[_name_state(s)]),
            }
            for s in states
        ],
        "time_ratio": {"median": statistics.median(ratios), "low": low, "high": high},
    }
    folder.write(FILE, timing)
    return timing


def _time_states(
    spec: Spec, results: Path, place: Path, states: Sequence[dict[str, Any]], seconds: float
) -> tuple[dict[str, list[float]], int, torch.device]:
    """Return step times, the number of samples of full training, and the device.

    The times are seconds per step by name, for full training and each freeze state, one value
    per round. The samples are those of all the spec's epochs.
    """
    full = Harness(
        spec.with_changes(strategy="full", options={}, match=(), reference=""), results, place
    )
    harness = Harness(spec, results, place)
    contestants = {FULL: TimedCall(full.step, full.step)}
    for state in states:
        ready = partial(harness.freeze, state["frozen"])
        contestants[_name_state(state)] = TimedCall(harness.step, ready)
    run = full.run
    times = time_interleaved(contestants, run.device, seconds, LEAST_ROUNDS)
    return times, run.batches.samples * spec.epochs, run.device


def _name_state(state: dict[str, Any]) -> str:
    """Return a name for the frozen layers, so that states with the same layers share a timing."""
    return "frozen " + " ".join(map(str, state["frozen"]))
