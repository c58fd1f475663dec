"""Heartbeat of a running run, which rewrites progress.json in the run's folder every few seconds.

A thread of the run's process writes the file. The thread continues while a model is built or an
epoch is evaluated, and no step waits for the file system. `freezebench status` reads the file. The
heartbeat also prevents a second execution of the run by another machine. This matters on file
systems whose locks work within one machine only.
"""

from __future__ import annotations

import json
import os
import platform
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from bench.results.run_folder import RunFolder

NAME = "progress.json"
KEYS = {"token", "host", "node", "pid", "job", "time", "step", "steps", "steps_per_second"}
PERIOD_SECONDS = 3.0
# How long to watch the heartbeat of another machine. Network file systems may show changes in a
# folder up to a minute late.
WATCH_SECONDS = 75.0


class RunTakenOver(Exception):
    """Exception raised if another process has taken over this run.

    This process must then not write to the folder of the run.
    """


class Heartbeat:
    """Context manager that writes a run's progress.json and deletes it at exit.

    The file is written at the start, after the first step, and then periodically.
    """

    def __init__(self, folder: RunFolder, period: float = PERIOD_SECONDS) -> None:
        self._path, self._period = folder.path / NAME, period
        self._token = uuid.uuid4().hex
        self._begun, self._ended = threading.Event(), threading.Event()
        self._taken_over = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
        self._step, self._steps = 0, 0
        self._first: tuple[int, float] | None = None
        self._last = 0.0

    def __enter__(self) -> Heartbeat:
        self._write()
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._begun.set()
        self._thread.join()
        with suppress(OSError):
            if self._is_ours():
                self._path.unlink()

    def note_step(self, step: int, steps: int) -> None:
        """Record a finished step. Raise RunTakenOver if another process has taken over the run."""
        if self._taken_over.is_set():
            raise RunTakenOver
        self._last = time.time()
        self._step, self._steps = step, steps
        if self._first is None:
            self._first = (step, self._last)
            self._begun.set()

    def _beat(self) -> None:
        self._begun.wait(self._period)
        while not self._ended.is_set():
            # A temporary loss of the file system must not end the run; the next beat tries again.
            with suppress(OSError):
                if not self._is_ours():
                    self._taken_over.set()
                    return
                self._write()
            self._ended.wait(self._period)

    def _is_ours(self) -> bool:
        there = read(self._path.parent)
        return there is None or there.get("token") == self._token

    def _write(self) -> None:
        from_step, since = self._first or (self._step, self._last)
        values = {
            "token": self._token,
            "host": platform.node(),
            "node": os.environ.get("SLURMD_NODENAME", platform.node()),
            "pid": os.getpid(),
            "job": get_job_name(),
            "time": time.time(),
            "step": self._step,
            "steps": self._steps,
            "steps_per_second": (self._step - from_step) / max(self._last - since, 1e-9),
        }
        temporary = self._path.with_name(f"{NAME}.{self._token}.tmp")
        temporary.write_text(json.dumps(values))  # no fsync: the next beat replaces it
        temporary.replace(self._path)


def read(folder: Path) -> dict[str, Any] | None:
    """Return the last heartbeat in a run's folder, or None."""
    try:
        values = json.loads((folder / NAME).read_text())
    except (OSError, ValueError):
        return None
    return values if isinstance(values, dict) and values.keys() >= KEYS else None


def is_alive_elsewhere(
    folder: RunFolder, stop: Callable[[], bool], patience: float = WATCH_SECONDS
) -> bool:
    """Return whether another machine executes this run, although its lock is free here.

    The function watches whether the heartbeat changes, so the clocks of the machines need not
    agree. A heartbeat of this machine gives False, because the file lock is reliable within one
    machine. If `stop` returns True, the answer is True. The full `patience` (seconds) is spent
    only if a process on another machine died without cleaning up.
    """
    before = read(folder.path)
    if before is None or before.get("host") == platform.node():
        return False
    until = time.monotonic() + patience
    while time.monotonic() < until:
        time.sleep(min(1.0, patience))
        now = read(folder.path)
        if now is None:
            return False
        if now != before or stop():
            return True
    return False


def get_job_name() -> str:
    """Return the id of the current Slurm job (such as 12_3 or 12), or '' outside a job."""
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{task}" if array else os.environ.get("SLURM_JOB_ID", "")
