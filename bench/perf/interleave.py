"""Timing things side by side: in turns, in one process, so that a noisy machine hits all alike.

With one CPU thread the clock is the CPU time of the process, which does not run while others have
the core; with several, and on a GPU, it is the time on the wall.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

from bench.perf.spread import LEAST_ROUNDS

BLOCK_SECONDS = 0.05  # what is shorter is repeated within a block


@dataclass(frozen=True)
class Contestant:
    """Something to be timed: `ready` is called before each block, outside the clock."""

    act: Callable[[], object]
    ready: Callable[[], object] = lambda: None


def interleaved(
    contestants: Mapping[str, Contestant],
    device: torch.device,
    seconds: float,
    least: int = LEAST_ROUNDS,
) -> dict[str, list[float]]:
    """Seconds of one act of each contestant, a value a round.

    Rounds are made until `seconds` are used, at least `least`. The order turns by one place a
    round, so that nobody always follows the same neighbour.
    """
    names = list(contestants)
    repeats = {name: _repeats(contestants[name], device) for name in names}
    times: dict[str, list[float]] = {name: [] for name in names}
    until = time.monotonic() + seconds
    while time.monotonic() < until or len(times[names[-1]]) < least:
        for name in names:
            contestants[name].ready()
            times[name].append(block(contestants[name].act, repeats[name], device))
        names = [*names[1:], names[0]]
    return times


def block(act: Callable[[], object], repeats: int, device: torch.device) -> float:
    """Seconds of one act, as the mean of a block of them; the device is waited for at its ends."""
    wait_for(device)
    began = now(device)
    for _ in range(repeats):
        act()
    wait_for(device)
    return (now(device) - began) / repeats


def now(device: torch.device) -> float:
    """The clock in seconds: see the head of this file."""
    return time.process_time() if clock(device) == "CPU" else time.perf_counter()


def clock(device: torch.device) -> str:
    """Which clock is read: 'CPU' or 'wall'."""
    return "CPU" if device.type == "cpu" and torch.get_num_threads() == 1 else "wall"


def ratios(numerator: Sequence[float], denominator: Sequence[float]) -> list[float]:
    """The ratio within each round: what slows a whole round down cancels."""
    return [a / b for a, b in zip(numerator, denominator, strict=True)]


def wait_for(device: torch.device) -> None:
    """Until the device has done all it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _repeats(contestant: Contestant, device: torch.device) -> int:
    contestant.ready()
    once = block(contestant.act, 1, device)
    return max(1, round(BLOCK_SECONDS / max(once, 1e-6)))
