"""Calls of Slurm's commands, each with a timeout."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bench.errors import UserError

SECONDS = 30  # timeout of one command
CHUNK = 500  # maximum number of job ids on one command line


class Unreachable(Exception):
    """Failure of a Slurm command: not installed, timed out, or an error of the controller."""


@dataclass(frozen=True)
class Job:
    """Job in the queue.

    id: Slurm's job id, such as 12_3 for a job of an array.
    state: Slurm's name of the state.
    """

    id: str
    name: str
    state: str
    reason: str


def find_jobs(names: Iterable[str]) -> list[Job]:
    """Return the jobs in the queue that have one of these names.

    Raises Unreachable if squeue fails.
    """
    jobs = []
    for some in _split_chunks(sorted(set(names)), 50):
        text = _run_command("squeue", "-h", "-r", "-o", "%i|%T|%j|%r", f"--name={','.join(some)}")
        for line in text.splitlines():
            number, state, name, reason = line.split("|", 3)
            jobs.append(Job(number, name, state, reason))
    return jobs


def get_array_limit() -> int:
    """Return how many jobs an array may have (Slurm's MaxArraySize).

    Raises Unreachable if scontrol fails.
    """
    found = re.search(
        r"^MaxArraySize\s*=\s*(\d+)", _run_command("scontrol", "show", "config"), re.M
    )
    return int(found.group(1)) if found else 1000


def release(jobs: Sequence[str]) -> None:
    """Release held jobs. Raises Unreachable if scontrol fails."""
    for some in _split_chunks(jobs, CHUNK):
        _run_command("scontrol", "release", *some)


def cancel(jobs: Sequence[str]) -> None:
    """Cancel pending and running jobs. Raises Unreachable if scancel fails."""
    for some in _split_chunks(jobs, CHUNK):
        _run_command("scancel", *some)


def check_slurm() -> None:
    """Raise UserError if a Slurm command is missing, so that this machine cannot submit jobs."""
    for command in ("sbatch", "srun", "squeue", "scontrol"):
        if shutil.which(command) is None:
            raise UserError(
                f"{command} is not installed here; run freezebench on a login node of the cluster"
            )


def _run_command(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unreachable(f"{command[0]}: {error}") from None
    if done.returncode:
        raise Unreachable(f"{command[0]}: {' '.join(done.stderr.split()) or done.returncode}")
    return done.stdout


def _split_chunks(words: Sequence[str], size: int) -> Iterable[Sequence[str]]:
    return (words[i : i + size] for i in range(0, len(words), size))
