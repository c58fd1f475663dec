"""The sign of life of a run under way: progress.json in its folder, every few seconds.

A thread of the run's process writes it, so that it goes on while a model is built, an epoch
evaluated or a large batch computed, and no step waits for the file system. It serves `status`,
and it guards a run where a lock does not reach: a file system may keep locks to one machine.
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
# How long another machine's sign of life is watched; network file systems show a folder up to a
# minute late.
WATCH_SECONDS = 75.0


class RunTakenOver(Exception):
    """Another process has taken this run; nothing more may be written to its folder."""


class Heartbeat:
    """Writes a run's progress.json while inside; it is deleted at an orderly end."""

    def __init__(self, folder: RunFolder, period: float = PERIOD_SECONDS) -> None:
        self._path, self._period = folder.path / NAME, period
        self._token = uuid.uuid4().hex
        self._ended, self._taken_over = threading.Event(), threading.Event()
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
        self._thread.join()
        with suppress(OSError):
            if self._is_ours():
                self._path.unlink()

    def note_step(self, step: int, steps: int) -> None:
        """Take note of a finished step. Raises RunTakenOver if another process took the run."""
        if self._taken_over.is_set():
            raise RunTakenOver
        self._last = time.time()
        self._step, self._steps = step, steps
        if self._first is None:
            self._first = (step, self._last)

    def _beat(self) -> None:
        while not self._ended.wait(self._period):
            # A file system that is away for a while must not end the run: the next beat tells.
            with suppress(OSError):
                if not self._is_ours():
                    self._taken_over.set()
                    return
                self._write()

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
        temporary.write_text(json.dumps(values))  # no fsync: the next one replaces it anyway
        temporary.replace(self._path)


def read(folder: Path) -> dict[str, Any] | None:
    """The last sign of life in a run's folder; None if there is none."""
    try:
        values = json.loads((folder / NAME).read_text())
    except (OSError, ValueError):
        return None
    return values if isinstance(values, dict) and values.keys() >= KEYS else None


def is_alive_elsewhere(
    folder: RunFolder, stop: Callable[[], bool], patience: float = WATCH_SECONDS
) -> bool:
    """Whether another machine is at this run, though its lock could be had here.

    Watches whether its sign of life changes, so that the clocks of machines need not agree. On
    this machine locks tell the truth. Only a run that died hard elsewhere is watched for the
    whole time, in seconds.
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
    """The Slurm job this process belongs to, as Slurm writes it (12_3, or 12); '' outside one."""
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{task}" if array else os.environ.get("SLURM_JOB_ID", "")
