"""Cadences: the steps after which a strategy is called."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from bench.errors import UserError


class Cadence(Protocol):
    """Rule for the steps after which a call is due. Step 0 is before training."""

    def due(self, step: int, steps_per_epoch: int) -> bool:
        """Return whether the call is due after `step` finished steps."""
        ...


@dataclass(frozen=True)
class Never:
    """Cadence of a call that is never made."""

    def due(self, step: int, steps_per_epoch: int) -> bool:
        return False


@dataclass(frozen=True)
class EverySteps:
    """Cadence of a call after every n-th step."""

    n: int

    def __post_init__(self) -> None:
        _check(self, self.n)

    def due(self, step: int, steps_per_epoch: int) -> bool:
        return step > 0 and step % self.n == 0


@dataclass(frozen=True)
class PerEpoch:
    """Cadence of k calls per epoch, evenly spaced, with the last call at the end of the epoch.

    There is at most one call per step.
    """

    k: int = 1

    def __post_init__(self) -> None:
        _check(self, self.k)

    def due(self, step: int, steps_per_epoch: int) -> bool:
        if step == 0:
            return False
        return step * self.k // steps_per_epoch > (step - 1) * self.k // steps_per_epoch


@dataclass(frozen=True)
class AtSteps:
    """Cadence of a call after each of the given steps."""

    steps: frozenset[int]

    def due(self, step: int, steps_per_epoch: int) -> bool:
        return step in self.steps


def _check(cadence: Cadence, often: int) -> None:
    if not isinstance(often, int) or often < 1:
        raise UserError(
            f"{cadence} is not a valid cadence; use a whole number of at least 1 (a Python int)"
        )
