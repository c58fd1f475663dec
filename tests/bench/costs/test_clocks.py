"""Tests of Clocks: regions sum to the total, and time is charged to the innermost region."""

from __future__ import annotations

import time
from contextlib import suppress

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.costs.clocks import REGIONS, Clocks

CPU, CUDA = torch.device("cpu"), torch.device("cuda")

# Actions of a run. An int advances the clock by that many ticks. A tuple opens a region of that
# name, runs the inner actions and, if the flag is set, leaves the region with an exception.
ACTIONS = st.recursive(
    st.integers(0, 1000),
    lambda inner: st.tuples(st.sampled_from(REGIONS), st.lists(inner, max_size=4), st.booleans()),
    max_leaves=15,
)


class Ticks:
    """Fake clock that only the test advances; CPU time runs at half the speed of wall time."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        patch.setattr(time, "perf_counter", lambda: self.now)
        patch.setattr(time, "process_time", lambda: self.now / 2)


def run(clocks: Clocks, ticks: Ticks, actions: list, where: str, passed: dict[str, float]) -> None:
    for action in actions:
        if isinstance(action, int):
            ticks.now += action
            passed[where] += action
            continue
        name, inside, fails = action
        with suppress(KeyboardInterrupt), clocks.time_region(name):
            run(clocks, ticks, inside, name, passed)
            if fails:
                raise KeyboardInterrupt


@settings(max_examples=200)
@given(st.lists(ACTIONS, max_size=6), st.lists(ACTIONS, max_size=3))
def test_time_is_charged_to_innermost_region_and_regions_sum_to_total(first, second):
    with pytest.MonkeyPatch.context() as patch:
        ticks = Ticks(patch)
        clocks = Clocks(CPU)
        passed = dict.fromkeys(REGIONS, 0.0)
        for actions in (first, second):
            run(clocks, ticks, actions, "prepare", passed)
            read = clocks.read()
            assert read["wall"] == {**passed, "whole": ticks.now}
            assert read["cpu"] == {name: s / 2 for name, s in read["wall"].items()}


@settings(max_examples=50)
@given(st.lists(ACTIONS, max_size=4), st.lists(ACTIONS, max_size=4))
def test_resumed_run_adds_time_of_interrupted_run(first, second):
    with pytest.MonkeyPatch.context() as patch:
        ticks = Ticks(patch)
        passed = dict.fromkeys(REGIONS, 0.0)
        killed = Clocks(CPU)
        run(killed, ticks, first, "prepare", passed)
        read = killed.read()
        ticks.now += 5000  # time between the two processes is not counted
        resumed = Clocks(CPU)
        run(resumed, ticks, second, "prepare", passed)
        resumed.restore(read)
        run(resumed, ticks, second, "prepare", passed)
        assert resumed.read()["wall"] == {**passed, "whole": ticks.now - 5000}


@settings(max_examples=50)
@given(st.integers(0, 99), st.integers(0, 99), st.integers(0, 99), st.booleans())
def test_time_inside_step_is_moved_out_of_surrounding_region(before, inside, after, fails):
    with pytest.MonkeyPatch.context() as patch:
        ticks = Ticks(patch)
        clocks = Clocks(CPU)
        with clocks.time_region("train"):
            ticks.now += before
            with suppress(KeyboardInterrupt), clocks.time_inside_step("decide"):
                ticks.now += inside
                if fails:
                    raise KeyboardInterrupt
            ticks.now += after
        wall = clocks.read()["wall"]
        assert (wall["train"], wall["decide"]) == (before + after, inside)
        assert wall["whole"] == ticks.now


class Device:
    """Fake CUDA device that reaches each event `behind` seconds after the host records it."""

    def __init__(self, patch: pytest.MonkeyPatch, ticks: Ticks, behind: float) -> None:
        self.waits = 0

        class Event:
            def __init__(self, enable_timing: bool) -> None:
                assert enable_timing
                self.at = float("nan")

            def record(self) -> None:
                self.at = ticks.now + behind

            def elapsed_time(self, other: Event) -> float:
                return 1000 * (other.at - self.at)

        def synchronize(device: torch.device) -> None:
            assert device == CUDA
            self.waits += 1

        patch.setattr(torch.cuda, "Event", Event)
        patch.setattr(torch.cuda, "synchronize", synchronize)


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 99), st.integers(0, 99)), max_size=5), st.booleans())
def test_cuda_steps_are_timed_with_events_without_synchronising(steps, fails):
    with pytest.MonkeyPatch.context() as patch:
        ticks = Ticks(patch)
        device = Device(patch, ticks, behind=3)
        clocks = Clocks(CUDA)
        with clocks.time_region("train"):
            entered = device.waits
            for inside, after in steps:
                with suppress(KeyboardInterrupt), clocks.time_inside_step("decide"):
                    ticks.now += inside
                    if fails:
                        raise KeyboardInterrupt
                ticks.now += after
            assert device.waits == entered  # only entering or leaving a region synchronises
        for unit, per_tick in (("wall", 1.0), ("cpu", 0.5)):
            read = clocks.read()[unit]
            assert read["decide"] == pytest.approx(per_tick * sum(i for i, _ in steps))
            assert read["train"] == pytest.approx(per_tick * sum(a for _, a in steps))
            assert read["whole"] == pytest.approx(per_tick * ticks.now)
            assert read["prepare"] == read["evaluate"] == 0


def test_total_equals_elapsed_wall_time():
    began = time.perf_counter()
    clocks = Clocks(CPU)
    with clocks.time_region("train"):
        time.sleep(0.02)
        with clocks.time_region("decide"):
            time.sleep(0.01)
    with clocks.time_region("evaluate"):
        time.sleep(0.01)
    read = clocks.read()
    passed = time.perf_counter() - began
    assert read["wall"]["whole"] <= passed < read["wall"]["whole"] + 0.01
    assert read["wall"]["train"] >= 0.02
    assert read["wall"]["decide"] >= 0.01
    assert read["cpu"]["whole"] < 0.02  # sleeping takes no CPU


@pytest.mark.parametrize("device", [CPU, CUDA])
def test_unknown_region_raises_and_loses_no_time(device, monkeypatch):
    ticks = Ticks(monkeypatch)
    Device(monkeypatch, ticks, behind=0)
    clocks = Clocks(device)
    for region in (clocks.time_region, clocks.time_inside_step):
        with pytest.raises(ValueError, match="unknown region 'lunch'; valid"), region("lunch"):
            pass
    ticks.now += 7
    assert clocks.read()["wall"]["prepare"] == 7
