"""Outcome of a launch, and the events it reports while it runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from bench.spec import Spec


class Watcher(Protocol):
    """Is told what happens; see bench/launch/progress.py."""

    def started(self, spec: Spec) -> None: ...
    def stepped(self, spec: Spec, step: int, steps: int) -> None: ...
    def finished(self, spec: Spec, result: dict[str, Any]) -> None: ...
    def failed(self, spec: Spec, reason: str) -> None: ...


@dataclass
class Outcome:
    """How a launch ended."""

    finished: list[Spec] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    blocked: list[Spec] = field(default_factory=list)
    stopped: bool = False
