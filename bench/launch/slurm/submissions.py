"""Records of the submitted job arrays: one file per array, in results/slurm/sent/.

The launcher first writes the record with a unique job name, and submits the array in held state.
Then it adds the job ids to the record and releases the array. A launcher may therefore be killed at
any time. If a record has no job ids, its array has never started, and the job name identifies the
array in the queue.
"""

from __future__ import annotations

import getpass
import json
import platform
import sys
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench.errors import UserError
from bench.files import explain_errors, hold_lock, read_json, write_atomically
from bench.launch.slurm.slurm_commands import Job

WAIT_SECONDS = 600.0  # maximum wait for another launcher
# The sbatch of a killed launcher may still be running, so the queue is searched for the array's
# name for this long.
LATE_SECONDS = 3600.0


@dataclass
class Array:
    """Record of a job array.

    packs: run ids of each job.
    jobs: Slurm's job id of each pack, [] until known.
    released: whether the jobs may start.
    ended: whether no job is in the queue any more.
    sent_at: time of the submission, seconds since the epoch.
    """

    name: str
    sweep: str
    commit: str
    packs: list[list[str]]
    jobs: list[str] = field(default_factory=list)
    released: bool = False
    ended: bool = False
    sent_by: str = ""
    sent_at: float = 0.0

    @classmethod
    def new(cls, sweep: str, commit: str, packs: list[list[str]]) -> Array:
        """Return the record of an array that will be submitted, with a unique name."""
        sender = f"{_get_user()}@{platform.node()}"
        name = f"freezebench-{sweep}-{uuid.uuid4().hex[:8]}"
        return cls(name, sweep, commit, packs, sent_by=sender, sent_at=time.time())


@dataclass(frozen=True)
class RunLocation:
    """Location of a queued run.

    number: the id of its job.
    job: its entry in the queue, or None if Slurm did not answer.
    """

    array: Array
    number: str
    job: Job | None


class Submissions:
    """Records of all arrays that were submitted for the runs of one results folder."""

    def __init__(self, results: Path) -> None:
        self.root = results.resolve() / "slurm"

    def list_active(self) -> list[Array]:
        """Return the arrays that are not recorded as ended, oldest first."""
        arrays = []
        for path in self.root.glob("sent/*.json"):
            values = read_json(path, _advise(path))
            if not values["ended"]:
                arrays.append(Array(**values))
        return sorted(arrays, key=lambda array: array.sent_at)

    def read_all(self) -> list[Array]:
        """Return the records of all arrays, oldest first."""
        paths = self.root.glob("sent/*.json")
        arrays = [Array(**read_json(path, _advise(path))) for path in paths]
        return sorted(arrays, key=lambda array: array.sent_at)

    def write(self, array: Array) -> None:
        """Write the record of an array atomically."""
        path = self._path(array)
        with explain_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        values: dict[str, Any] = asdict(array)
        write_atomically(path, json.dumps(values) + "\n")

    def remove_array(self, array: Array) -> None:
        """Delete the record of an array that was never submitted."""
        self._path(array).unlink(missing_ok=True)

    def folder(self, array: Array) -> Path:
        """Return the folder of the pickled tasks and the logs of an array's jobs."""
        return self.root / "jobs" / array.name

    def find_logs(self, run: str) -> list[Path]:
        """Return the job logs of all jobs that a run was submitted in, oldest first."""
        return [
            self._log(array, number)
            for array in self.read_all()
            for number, pack in zip(array.jobs, array.packs, strict=False)
            if run in pack
        ]

    def find_log(self, number: str) -> Path | None:
        """Return the log of a job, or None if no record has this job id."""
        for array in self.read_all():
            if number in array.jobs:
                return self._log(array, number)
        return None

    def _log(self, array: Array, number: str) -> Path:
        return self.folder(array) / f"{number}_0_log.out"

    @contextmanager
    def hold_lock(self) -> Iterator[None]:
        """Hold the launcher lock, so that the next launcher sees what this launcher submitted.

        Raises UserError if another process holds it for WAIT_SECONDS, or if the file system has no
        locks.
        """
        with explain_errors(self.root):
            self.root.mkdir(parents=True, exist_ok=True)
        path = self.root / "lock"
        with hold_lock(path, seconds=0) as ours:
            if ours:
                yield
                return
        print(f"another launcher holds the lock {path}; waiting for it", file=sys.stderr)
        with hold_lock(path, WAIT_SECONDS) as ours:
            if not ours:
                raise UserError(
                    f"another `freezebench` process has held the lock {path} for "
                    f"{WAIT_SECONDS:.0f} s; stop that process, or try again later"
                )
            yield

    def _path(self, array: Array) -> Path:
        return self.root / "sent" / f"{array.name}.json"


def locate_runs(arrays: Iterable[Array], queue: Iterable[Job] | None) -> dict[str, RunLocation]:
    """Return the locations of the runs whose job is in the queue, by run id.

    queue: the jobs in the queue; None if Slurm did not answer. In that case, every recorded job is
    assumed to be in the queue.
    """
    by_number: Mapping[str, Job] = {job.id: job for job in queue or ()}
    found = {}
    for array in arrays:
        for number, pack in zip(array.jobs, array.packs, strict=False):
            job = by_number.get(number)
            if job or queue is None:
                found.update({run: RunLocation(array, number, job) for run in pack})
    return found


def _advise(path: Path) -> str:
    """Return the advice for a damaged record of an array."""
    return f"cancel its jobs (scancel --name={path.stem}), then delete this file"


def _get_user() -> str:
    with suppress(KeyError, OSError):
        return getpass.getuser()
    return "unknown"
