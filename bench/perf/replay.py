"""A finished run's time, rebuilt from steps timed side by side with full training.

A run's own clocks hold whatever else the machine did meanwhile. Which layers were frozen for how
many samples is recorded exactly, though, so its time can be put together again: each freeze
state's step is timed in turns with a step of full training in one process, and each round of
turns gives one rebuilt time as a share of full training's. What deciding costs is added as the
share of train time that the run's CPU clocks (on a GPU: its wall clocks) saw.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Sequence
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


def find_timing_obstacle(spec: Spec) -> str:
    """Why the freeze states of a run cannot be timed in turns; "" if they can."""
    if spec.cache_prefix:
        return "a step's time with cache_prefix depends on what is in the cache"
    if spec.compiled:
        return "compiled steps would be compiled anew at every turn"
    if spec.replicas > 1:
        return "steps with replicas take several processes"
    return ""


def retime(spec: Spec, results: Path, seconds: float) -> dict[str, Any]:
    """Time the freeze states of a done run, write retime.json into its folder, and return it.

    time_ratio: train and decide time over the time of full training with the spec's epochs.
    Raises UserError if the run is not done, or cannot be timed in turns.
    """
    folder = RunFolder(results, spec.id)
    if not folder.done:
        raise UserError(f"{spec.label}: has no result yet, so there is nothing to time again")
    result = folder.result()
    if result["status"] != "done":
        raise UserError(f"{spec.label}: diverged, so there is nothing to time again")
    if reason := find_timing_obstacle(spec):
        raise UserError(f"{spec.label}: {reason}; only runs without it can be timed again")
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
    told = {
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
    folder.write(FILE, told)
    return told


def _time_states(
    spec: Spec, results: Path, place: Path, states: Sequence[dict[str, Any]], seconds: float
) -> tuple[dict[str, list[float]], int, torch.device]:
    """Seconds a step of full training and of every freeze state, a value a round; the samples
    that full training sees in the spec's epochs; the device.
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
    """A name for what is frozen: states with the same layers share their timing."""
    return "frozen " + " ".join(map(str, state["frozen"]))
