"""Messages from a process to its launcher, in the same format for the pool and for replicas.

A message is a pair of a kind and a value:

- ("step", (step, steps)): progress.
- ("result", result): the run is done.
- ("found", result): another process has executed the run.
- ("stopped", None): the run stopped on request.
- ("failed", failure): the failure is a line of text or a Failure.
"""

from __future__ import annotations

import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

Message = tuple[str, Any]

# Modules that the fork server imports, so that a new process starts without importing torch.
PRELOADED = ["bench.training.loop", "bench.results.wandb_mirror"]
PROGRESS_SECONDS = 1.0


@dataclass(frozen=True)
class Failure:
    """Failure of a run.

    reason: one line.
    users: whether the error is a UserError.
    trace: the traceback as text.
    peer: whether the cause may be that another process of the run has ended.
    """

    reason: str
    users: bool
    trace: str
    peer: bool = False


def ignore_interrupts() -> None:
    """Ignore SIGINT, because the launcher receives Ctrl-C too and tells its processes to stop."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


class ProgressSender:
    """Callable that sends the progress of a run through a pipe, at most once in `seconds`.

    alone: whether a message could not be sent, which means that the launcher is gone.
    """

    def __init__(self, pipe: Connection, seconds: float = PROGRESS_SECONDS) -> None:
        self._pipe, self._seconds, self._last, self.alone = pipe, seconds, 0.0, False

    def __call__(self, step: int, steps: int) -> None:
        """Send the progress, unless the last message was sent less than `seconds` ago."""
        now = time.monotonic()
        if now - self._last >= self._seconds:
            self._last = now
            self.alone |= not send(self._pipe, ("step", (step, steps)))


def send(pipe: Connection, message: Message) -> bool:
    """Send a message; return False if the other end of the pipe is closed."""
    with suppress(OSError):
        pipe.send(message)
        return True
    return False
