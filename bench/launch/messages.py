"""Messages that a worker process sends to its launcher, alike for the pool and for replicas.

A message is a pair of a kind and a value:
("step", (step, steps)), ("result", result), ("stopped", None), ("failed", reason or Failure).
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
    """Reason of a failure in one line. users: whether the user can fix it. trace: traceback."""

    reason: str
    users: bool
    trace: str


def ignore_interrupts() -> None:
    """Ignore SIGINT: Ctrl-C reaches the launcher too, which tells its processes to stop."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


class ProgressSender:
    """Sends the progress of a run through a pipe, at most once in `seconds`.

    alone: whether the launcher is gone, since nothing can be sent any more.
    """

    def __init__(self, pipe: Connection, seconds: float = PROGRESS_SECONDS) -> None:
        self._pipe, self._seconds, self._last, self.alone = pipe, seconds, 0.0, False

    def __call__(self, step: int, steps: int) -> None:
        """Send the progress unless the last message is too recent."""
        now = time.monotonic()
        if now - self._last >= self._seconds:
            self._last = now
            self.alone |= not send(self._pipe, ("step", (step, steps)))


def send(pipe: Connection, message: Message) -> bool:
    """Send a message; return whether the launcher still listens."""
    with suppress(OSError):
        pipe.send(message)
        return True
    return False
