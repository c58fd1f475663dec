"""Outcome of a launch, and the interface that receives its events."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from bench.spec import Spec

# End of a run in this launch: a result of its own, the result of another process, a failure, or a
# stop with a checkpoint.
Ending = Literal["result", "found", "failed", "stopped"]


class Watcher(Protocol):
    """Receiver of the events of a launch, for example `Progress` in bench/launch/progress.py.

    finished: called when this launch has executed a run.
    found: called when another process has executed a run of this launch.
    """

    def started(self, spec: Spec) -> None: ...
    def stepped(self, spec: Spec, step: int, steps: int) -> None: ...
    def finished(self, spec: Spec, result: dict[str, Any]) -> None: ...
    def found(self, spec: Spec, result: dict[str, Any]) -> None: ...
    def failed(self, spec: Spec, reason: str) -> None: ...


@dataclass
class Outcome:
    """Outcome of a launch.

    finished: runs with a result.
    failed: reasons of failures, by run id.
    blocked: runs that were not started, because a run that they need failed.
    stopped: whether Ctrl-C or a stop request ended the launch.
    """

    finished: list[Spec] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    blocked: list[Spec] = field(default_factory=list)
    stopped: bool = False

    def record(self, spec: Spec, kind: Ending, value: Any, watcher: Watcher) -> None:
        """Record the end of a run, and tell the watcher.

        value: the result, or the reason of the failure; ignored for a stopped run.
        """
        if kind == "failed":
            self.failed[spec.id] = value
            watcher.failed(spec, value)
        elif kind != "stopped":
            self.finished.append(spec)
            (watcher.finished if kind == "result" else watcher.found)(spec, value)
