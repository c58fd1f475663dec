"""One attempt to execute a run, and the record of its failure."""

from __future__ import annotations

import math
import os
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from bench.errors import ProcessLost, Stopped, UserError
from bench.launch.outcome import Ending
from bench.results.heartbeat import NAME as PROGRESS
from bench.results.heartbeat import Heartbeat, RunTakenOver, get_job_name, is_alive_elsewhere
from bench.results.run_folder import RunFolder
from bench.spec import Spec

HEARTBEAT_SECONDS = 1.0
AWAY_SECONDS = 600.0  # maximum wait for a lost file system to be mounted again
CHECKPOINT_VARIABLE = "FREEZEBENCH_CHECKPOINT_SECONDS"


def run_and_report(
    spec: Spec, results: Path, stop: Callable[[], bool], report_progress: Callable[[int, int], None]
) -> tuple[Ending, Any]:
    """Execute a run. Return a pair of a kind and a value.

    The pair is ("result", result), ("found", result), ("stopped", None) or ("failed", reason).
    "found" means that another process has finished the run. If another process holds the lock of
    the run, wait for that process. If it ends without a result, execute the run.
    stop: function that returns whether to stop.
    report_progress: called with (finished steps, total steps).
    """
    folder = RunFolder(results, spec.id)
    try:
        while True:
            await_folder(results, stop)
            if not results.is_dir():
                return "stopped", None
            with folder.hold_lock() as ours:
                if folder.is_complete(spec):
                    return "found", folder.result()
                if ours and not is_alive_elsewhere(folder, stop) and not folder.is_complete(spec):
                    with suppress(RunTakenOver):  # another machine executes the run
                        return "result", _execute(spec, folder, results, stop, report_progress)
            if stop():
                return "stopped", None
            time.sleep(HEARTBEAT_SECONDS)
    except Stopped:
        return "stopped", None
    except (Exception, SystemExit) as error:  # a strategy may call sys.exit
        # An error in one run must not end the other runs, so record it and report it.
        return "failed", _record_failure(spec, folder, error)


def _execute(
    spec: Spec,
    folder: RunFolder,
    results: Path,
    stop: Callable[[], bool],
    report_progress: Callable[[int, int], None],
) -> dict[str, Any]:
    """Execute a run whose lock this process holds, with a heartbeat, and mirror it to wandb."""
    from bench.launch.processes.replicas import execute_replicas
    from bench.results.wandb_mirror import mirror_run
    from bench.training.loop import CHECKPOINT_SECONDS, execute

    seconds = read_checkpoint_seconds(CHECKPOINT_SECONDS)
    make = execute if spec.replicas == 1 else execute_replicas
    with Heartbeat(folder) as beat:

        def progress(step: int, steps: int) -> None:
            beat.note_step(step, steps)
            report_progress(step, steps)

        result = make(spec, results, stop=stop, progress=progress, checkpoint_seconds=seconds)
    mirror_run(spec, folder)
    return result


def read_checkpoint_seconds(default: float) -> float:
    """Return the minimum time between two checkpoints of a run, in seconds.

    The environment variable FREEZEBENCH_CHECKPOINT_SECONDS replaces the default. Raises UserError
    if its value is not a number of at least 0.
    """
    text = os.environ.get(CHECKPOINT_VARIABLE, "")
    try:
        seconds = float(text) if text else default
    except ValueError:
        seconds = math.nan
    if not seconds >= 0:
        raise UserError(
            f"{CHECKPOINT_VARIABLE} = {text!r} is not valid; give the seconds between two "
            "checkpoints, 0 or more"
        )
    return seconds


def await_folder(results: Path, stop: Callable[[], bool]) -> None:
    """Wait until the results folder exists, or until `stop` returns True.

    The file system of the folder may be unmounted for a while. Without the wait, a run would create
    a new folder at the empty mount point. Raises UserError after AWAY_SECONDS.
    """
    until = time.monotonic() + AWAY_SECONDS
    while not results.is_dir() and not stop():
        if time.monotonic() > until:
            raise UserError(f"{results} has disappeared; check that its file system is mounted")
        time.sleep(HEARTBEAT_SECONDS)


def record_killed(spec: Spec, folder: RunFolder, reason: str) -> None:
    """Write failure.json for a run whose process was killed.

    If the file cannot be written, no error is raised, because the caller reports the failure too.
    """
    with suppress(OSError, UserError):
        failure = {"reason": reason, "killed": True, "job": get_job_name()}
        folder.write_failure(spec, failure)
        folder.remove(PROGRESS)


def _record_failure(spec: Spec, folder: RunFolder, error: BaseException) -> str:
    reason = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
    reason = next((line for line in reason.splitlines() if line.strip()), type(error).__name__)
    try:
        log = folder.path / "traceback.txt"
        # File names in the message may contain bytes that UTF-8 does not have.
        log.write_text("".join(traceback.format_exception(error)), errors="backslashreplace")
        failure = {"reason": reason, "log": str(log), "job": get_job_name()}
        lost = {"killed": True} if isinstance(error, ProcessLost) else {}
        folder.write_failure(spec, failure | lost)
    except (OSError, UserError):
        return f"{reason} (and failure.json could not be written to {folder.path})"
    return reason if isinstance(error, UserError) else f"{reason} (traceback: {log})"
