"""Interleaved timing in one process, so that machine noise affects all candidates alike.

With one CPU thread the clock is the process's CPU time, which excludes the time of other
processes. With several threads, or on a GPU, the clock is the wall clock.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

from bench.perf.median_interval import LEAST_ROUNDS

BLOCK_SECONDS = 0.05  # shorter calls are repeated to fill a block


@dataclass(frozen=True)
class TimedCall:
    """Call to be timed. `ready` runs before each block and is not timed."""

    act: Callable[[], object]
    ready: Callable[[], object] = lambda: None


@dataclass(frozen=True)
class TimingGroup:
    """Functions that share one `ready` and are timed alternately, one block of each per turn.

    A block consists of repeated calls of one function. `ready` runs once per round, before the
    turns. If two blocks are close in time, more machine noise cancels in their ratio.
    turns: number of turns per round.
    """

    acts: Mapping[str, Callable[[], object]]
    ready: Callable[[], object] = lambda: None
    turns: int = 1


def time_interleaved(
    contestants: Mapping[str, TimedCall],
    device: torch.device,
    seconds: float,
    least: int = LEAST_ROUNDS,
) -> dict[str, list[float]]:
    """Return the seconds per call of each function, by name, one value per round.

    contestants: the calls by name; each call is a TimingGroup of its own.
    """
    groups = [TimingGroup({name: one.act}, one.ready) for name, one in contestants.items()]
    return time_groups(groups, device, seconds, least)


def time_groups(
    groups: Sequence[TimingGroup], device: torch.device, seconds: float, least: int = LEAST_ROUNDS
) -> dict[str, list[float]]:
    """Return the seconds per call of each function of the groups, by name, one value per round.

    The value of a round is the median over the group's turns. Rounds are repeated until `seconds`
    have passed and at least `least` rounds are complete. The order of the groups rotates with every
    round. The order within a group reverses with every turn. Both avoid effects of the order.
    """
    repeats = {
        name: count for group in groups for name, count in _choose_repeats(group, device).items()
    }
    times: dict[str, list[float]] = {name: [] for name in repeats}
    until, rounds = time.monotonic() + seconds, 0
    while time.monotonic() < until or rounds < least:
        first = rounds % len(groups)
        for group in (*groups[first:], *groups[:first]):
            group.ready()
            taken: dict[str, list[float]] = {name: [] for name in group.acts}
            for turn in range(group.turns):
                names = list(group.acts)
                for name in names if (rounds + turn) % 2 == 0 else reversed(names):
                    taken[name].append(time_block(group.acts[name], repeats[name], device))
            for name, seconds_each in taken.items():
                times[name].append(statistics.median(seconds_each))
        rounds += 1
    return times


def time_block(act: Callable[[], object], repeats: int, device: torch.device) -> float:
    """Return the mean seconds of one call over a block of `repeats` calls.

    The device is synchronised before and after the block.
    """
    wait_for(device)
    began = read_clock(device)
    for _ in range(repeats):
        act()
    wait_for(device)
    return (read_clock(device) - began) / repeats


def read_clock(device: torch.device) -> float:
    """Return the time in seconds on the clock that `name_clock` names."""
    return time.process_time() if name_clock(device) == "CPU" else time.perf_counter()


def name_clock(device: torch.device) -> str:
    """Return 'CPU' for one CPU thread, or 'wall' for several threads or a GPU."""
    return "CPU" if device.type == "cpu" and torch.get_num_threads() == 1 else "wall"


def compute_ratios(numerator: Sequence[float], denominator: Sequence[float]) -> list[float]:
    """Return the ratio of each round. A slowdown of the whole round cancels out."""
    return [a / b for a, b in zip(numerator, denominator, strict=True)]


def wait_for(device: torch.device) -> None:
    """Wait until the device has finished all queued work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _choose_repeats(group: TimingGroup, device: torch.device) -> dict[str, int]:
    """Return how often each function is called to fill a block of BLOCK_SECONDS."""
    group.ready()
    for act in group.acts.values():
        act()  # the first call loads kernels and allocates memory
    once = {name: time_block(act, 1, device) for name, act in group.acts.items()}
    return {name: max(1, round(BLOCK_SECONDS / max(one, 1e-6))) for name, one in once.items()}
