"""Timing things side by side: in turns, in one process, so that a noisy machine hits all alike.

With one CPU thread the clock is the CPU time of the process, which does not run while others have
the core; with several, and on a GPU, it is the time on the wall.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

from bench.perf.median_interval import LEAST_ROUNDS

BLOCK_SECONDS = 0.05  # what is shorter is repeated within a block


@dataclass(frozen=True)
class TimedCall:
    """Something to be timed: `ready` is called before each block, outside the clock."""

    act: Callable[[], object]
    ready: Callable[[], object] = lambda: None


@dataclass(frozen=True)
class TimingGroup:
    """Things that are made ready together and then timed in turns, one block each a turn.

    The closer two blocks are in time, the more of the machine's noise cancels in their ratio.
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
    """Seconds of one act of each contestant, a value a round; each is a group of its own."""
    groups = [TimingGroup({name: one.act}, one.ready) for name, one in contestants.items()]
    return time_groups(groups, device, seconds, least)


def time_groups(
    groups: Sequence[TimingGroup], device: torch.device, seconds: float, least: int = LEAST_ROUNDS
) -> dict[str, list[float]]:
    """Seconds of each act by its name, a value a round: the median of its turns.

    Rounds are made until `seconds` are used, at least `least`. The order of the groups turns by one
    place a round, so that none always follows the same neighbour, that of the acts with each turn.
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
    """Seconds of one act, as the mean of a block of them; the device is waited for at its ends."""
    wait_for(device)
    began = read_clock(device)
    for _ in range(repeats):
        act()
    wait_for(device)
    return (read_clock(device) - began) / repeats


def read_clock(device: torch.device) -> float:
    """The clock in seconds: see the head of this file."""
    return time.process_time() if name_clock(device) == "CPU" else time.perf_counter()


def name_clock(device: torch.device) -> str:
    """Which clock is read: 'CPU' or 'wall'."""
    return "CPU" if device.type == "cpu" and torch.get_num_threads() == 1 else "wall"


def compute_ratios(numerator: Sequence[float], denominator: Sequence[float]) -> list[float]:
    """The ratio within each round: what slows a whole round down cancels."""
    return [a / b for a, b in zip(numerator, denominator, strict=True)]


def wait_for(device: torch.device) -> None:
    """Until the device has done all it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _choose_repeats(group: TimingGroup, device: torch.device) -> dict[str, int]:
    """How often each act is repeated within a block."""
    group.ready()
    for act in group.acts.values():
        act()  # the very first loads and allocates
    once = {name: time_block(act, 1, device) for name, act in group.acts.items()}
    return {name: max(1, round(BLOCK_SECONDS / max(one, 1e-6))) for name, one in once.items()}
