"""Runs that are stopped repeatedly, and their comparison with an uninterrupted run."""

from __future__ import annotations

from pathlib import Path

import torch

from bench.errors import Stopped
from bench.results.comparison import find_difference
from bench.results.run_folder import RunFolder
from bench.spec import Spec
from bench.training.loop import execute
from tests.support.tiny_runs import execute_run, load_essence, load_weights


def execute_with_stops(steps: int, spec: Spec, results: Path) -> int:
    """Execute a run that is stopped and resumed after every `steps` steps.

    Return the number of stops.
    """
    stops = 0
    while True:
        calls = 0

        def now() -> bool:
            nonlocal calls
            calls += 1
            return calls == steps

        try:
            execute(spec, results, stop=now)
            return stops
        except Stopped:
            stops += 1


def assert_same_bits(spec: Spec, one: Path, other: Path) -> None:
    """Assert that a run has the same reproducible record and the same weights in two folders."""
    assert find_difference(load_essence(spec, one), load_essence(spec, other)) == ""
    first, second = load_weights(spec, one), load_weights(spec, other)
    assert all(torch.equal(first[k], second[k]) for k in first)


def assert_stops_change_nothing(spec: Spec, place: Path) -> None:
    """Assert that a run stopped at every third step ends bit-identical to an uninterrupted run."""
    execute_run(spec, place / "straight")
    assert execute_with_stops(3, spec, place / "broken") >= 5
    assert_same_bits(spec, place / "straight", place / "broken")
    assert RunFolder(place / "broken", spec.id).result()["resumed"]
