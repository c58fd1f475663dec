"""Which jobs were sent for which runs: one file an array, below results/slurm/sent/.

An array is written down before it is sent, under a name that no other has, and sent held. Then
its job number is written down and it is released. So a launcher may be killed at any moment: an
array without a number has never started, and its name finds it in the queue.
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

WAIT_SECONDS = 600.0  # for another launcher
# A killed launcher's sbatch may still be on its way; its name is looked up for this long.
LATE_SECONDS = 3600.0


@dataclass
class Array:
    """One array of jobs.

    packs: ids of runs by job. jobs: Slurm's number of each pack's job, [] until it is known.
    released: it may start. ended: nothing of it is in the queue any more.
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
        """An array about to be sent, with a name that no other has."""
        sender = f"{_get_user()}@{platform.node()}"
        name = f"freezebench-{sweep}-{uuid.uuid4().hex[:8]}"
        return cls(name, sweep, commit, packs, sent_by=sender, sent_at=time.time())


@dataclass(frozen=True)
class RunLocation:
    """Where a run waits or is made. job: None if Slurm could not be asked."""

    array: Array
    number: str
    job: Job | None


class Submissions:
    """The arrays sent for the runs of one results folder."""

    def __init__(self, results: Path) -> None:
        self.root = results.resolve() / "slurm"

    def list_active(self) -> list[Array]:
        """Arrays that have not ended, as far as is written down; the oldest first."""
        arrays = []
        for path in self.root.glob("sent/*.json"):
            values = read_json(path)
            if not values["ended"]:
                arrays.append(Array(**values))
        return sorted(arrays, key=lambda array: array.sent_at)

    def every(self) -> list[Array]:
        """All arrays ever sent, the oldest first."""
        arrays = [Array(**read_json(path)) for path in self.root.glob("sent/*.json")]
        return sorted(arrays, key=lambda array: array.sent_at)

    def write(self, array: Array) -> None:
        """Write an array down, in one step."""
        path = self._path(array)
        with explain_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        values: dict[str, Any] = asdict(array)
        write_atomically(path, json.dumps(values) + "\n")

    def remove_array(self, array: Array) -> None:
        """Forget an array that was never sent."""
        self._path(array).unlink(missing_ok=True)

    def folder(self, array: Array) -> Path:
        """Where its jobs find their orders and leave their logs."""
        return self.root / "jobs" / array.name

    def find_logs(self, run: str) -> list[Path]:
        """Where the jobs printed that a run was sent in, the oldest first."""
        return [
            self._log(array, number)
            for array in self.every()
            for number, pack in zip(array.jobs, array.packs, strict=False)
            if run in pack
        ]

    def find_log(self, number: str) -> Path | None:
        """Where a job printed; None if it is none of ours."""
        for array in self.every():
            if number in array.jobs:
                return self._log(array, number)
        return None

    def _log(self, array: Array, number: str) -> Path:
        return self.folder(array) / f"{number}_0_log.out"

    @contextmanager
    def hold_lock(self) -> Iterator[None]:
        """Hold the lock: one launcher at a time; the next one sees what this one submitted.

        Raises UserError if another holds it for long, or the file system has no locks.
        """
        with explain_errors(self.root):
            self.root.mkdir(parents=True, exist_ok=True)
        path = self.root / "lock"
        with hold_lock(path, seconds=0) as ours:
            if ours:
                yield
                return
        print("another launcher is at work here; waiting for it", file=sys.stderr)
        with hold_lock(path, WAIT_SECONDS) as ours:
            if not ours:
                raise UserError(
                    f"timed out waiting for the lock {path}: another `freezebench` process holds "
                    "it; stop it or wait"
                )
            yield

    def _path(self, array: Array) -> Path:
        return self.root / "sent" / f"{array.name}.json"


def locate_runs(arrays: Iterable[Array], queue: Iterable[Job] | None) -> dict[str, RunLocation]:
    """Where runs wait or are made, by id: in a job that is in the queue.

    queue: the jobs of these arrays; None if Slurm could not be asked: then every job written
    down is believed to be there.
    """
    by_number: Mapping[str, Job] = {job.id: job for job in queue or ()}
    found = {}
    for array in arrays:
        for number, pack in zip(array.jobs, array.packs, strict=False):
            job = by_number.get(number)
            if job or queue is None:
                found.update({run: RunLocation(array, number, job) for run in pack})
    return found


def _get_user() -> str:
    with suppress(KeyError, OSError):
        return getpass.getuser()
    return "unknown"
