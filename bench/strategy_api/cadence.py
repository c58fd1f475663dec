"""When a strategy looks or is asked, counted in finished steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from bench.errors import UserError


class Cadence(Protocol):
    """Says after which steps something is due; step 0 is the moment before training."""

    def due(self, step: int, steps_per_epoch: int) -> bool:
        """Whether it is due when `step` steps are finished."""
        ...


@dataclass(frozen=True)
class Never:
    """Not at all."""

    def due(self, step: int, steps_per_epoch: int) -> bool:
        return False


@dataclass(frozen=True)
class EverySteps:
    """After every n-th step."""

    n: int

    def __post_init__(self) -> None:
        _check(self, self.n)

    def due(self, step: int, steps_per_epoch: int) -> bool:
        return step > 0 and step % self.n == 0


@dataclass(frozen=True)
class PerEpoch:
    """k times an epoch, evenly, the last time at its end; at most once a step."""

    k: int = 1

    def __post_init__(self) -> None:
        _check(self, self.k)

    def due(self, step: int, steps_per_epoch: int) -> bool:
        if step == 0:
            return False
        return step * self.k // steps_per_epoch > (step - 1) * self.k // steps_per_epoch


@dataclass(frozen=True)
class AtSteps:
    """After the steps named."""

    steps: frozenset[int]

    def due(self, step: int, steps_per_epoch: int) -> bool:
        return step in self.steps


def _check(cadence: Cadence, often: int) -> None:
    if not isinstance(often, int) or often < 1:
        raise UserError(f"{cadence} is no cadence; give a whole number from 1")
