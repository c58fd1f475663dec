"""Status of a run, read from its folder without writing files or keeping locks."""

from __future__ import annotations

import errno
import fcntl
import os
import platform
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.files import explain_errors, read_json
from bench.results import heartbeat
from bench.results.run_folder import REPEAT, RunFolder
from bench.spec import Spec

SILENT_SECONDS = 60.0  # age of the last heartbeat from which `status` warns

DONE, DIVERGED, FAILED, BLOCKED = "done", "diverged", "failed", "blocked"
RUNNING, INTERRUPTED, TO_DO = "running", "interrupted", "to do"


@dataclass(frozen=True)
class RunStatus:
    """Status of a run.

    state:

    - done, diverged, running, to do.
    - failed: the last attempt ended in an error.
    - blocked: a run that it needs failed.
    - interrupted: no process executes the run. The next launch resumes it from its checkpoint, if
      there is one.

    reason: explanation of a bad state.
    log: file with more details.
    job: id of the Slurm job of the last failure.
    progress: the last heartbeat of a running, failed or interrupted run.
    """

    state: str
    reason: str = ""
    log: str = ""
    job: str = ""
    progress: Mapping[str, Any] | None = None

    @property
    def silence(self) -> float:
        """Seconds from the time in the last heartbeat to the clock of this machine, at least 0."""
        return max(time.time() - self.progress["time"], 0.0) if self.progress else 0.0


def read_statuses(specs: Iterable[Spec], results: Path) -> dict[str, RunStatus]:
    """Return the status of each run by id. Raise UserError that names a damaged file."""
    runs = results / "runs"
    with explain_errors(runs):
        present = {entry.name for entry in os.scandir(runs)} if runs.is_dir() else set()
    return {
        spec.id: read_status(spec, results) if spec.id in present else RunStatus(TO_DO)
        for spec in specs
    }


def read_status(spec: Spec, results: Path) -> RunStatus:
    """Return the status of one run. Raise UserError that names a damaged file."""
    folder = RunFolder(results, spec.id)
    try:
        files = {entry.name for entry in os.scandir(folder.path)}
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            return RunStatus(TO_DO)
        raise
    if "result.json" in files:
        result = folder.result()
        whole = not spec.keep_model or result["status"] == DIVERGED or folder.model.name in files
        if whole:
            return RunStatus(result["status"], result["reason"])
    progress = heartbeat.read(folder.path) if heartbeat.NAME in files else None
    if ("lock" in files and _is_held(folder.path / "lock")) or _is_fresh_elsewhere(progress):
        return RunStatus(RUNNING, progress=progress)
    if "failure.json" in files:
        failure = read_json(folder.path / "failure.json")
        state = BLOCKED if failure.get("blocked_by") else FAILED
        return RunStatus(
            state, failure["reason"], failure.get("log", ""), failure.get("job", ""), progress
        )
    if progress:
        where = f"job {progress['job']}" if progress["job"] else f"process {progress['pid']}"
        return RunStatus(
            INTERRUPTED, f"{where} on {progress['node']} stopped unexpectedly", progress=progress
        )
    begun = folder.checkpoint.name in files or REPEAT in files
    return RunStatus(INTERRUPTED if begun else TO_DO)


def is_running(folder: RunFolder) -> bool:
    """Return whether a process executes a run, on this or on another machine."""
    return _is_held(folder.path / "lock") or _is_fresh_elsewhere(heartbeat.read(folder.path))


def _is_held(lock: Path) -> bool:
    """Return whether a process holds the lock of a run, as far as this file system shows."""
    try:
        with lock.open("r") as handle:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno in (errno.EAGAIN, errno.EACCES)
    return False


def _is_fresh_elsewhere(progress: Mapping[str, Any] | None) -> bool:
    """Return whether a heartbeat is recent and from another machine.

    The lock of a process on another machine may be invisible here.
    """
    if not progress:
        return False
    fresh: bool = time.time() - progress["time"] < SILENT_SECONDS
    return fresh and progress["host"] != platform.node()
