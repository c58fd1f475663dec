"""Watcher of a launch that records its events."""

from __future__ import annotations

from typing import Any

from bench.spec import Spec


class RecordingWatcher:
    """Watcher that records each event and calls `act`, if given, with the event and the spec."""

    def __init__(self, act: Any = None) -> None:
        self.events: list[tuple[str, str]] = []
        self._act = act

    def _note(self, what: str, spec: Spec) -> None:
        self.events.append((what, spec.id))
        if self._act:
            self._act(what, spec)

    def started(self, spec: Spec) -> None:
        self._note("started", spec)

    def stepped(self, spec: Spec, step: int, steps: int) -> None:
        self._note("stepped", spec)

    def finished(self, spec: Spec, result: dict[str, Any]) -> None:
        self._note("finished", spec)

    def found(self, spec: Spec, result: dict[str, Any]) -> None:
        self._note("found", spec)

    def failed(self, spec: Spec, reason: str) -> None:
        self._note("failed", spec)
