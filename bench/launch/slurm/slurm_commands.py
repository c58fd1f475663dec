"""What Slurm says of jobs, and the few things asked of it. Every call is bounded in time."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bench.errors import UserError

SECONDS = 30  # for one answer
CHUNK = 500  # words on one command line
USER_HOLD = "JobHeldUser"


class Unreachable(Exception):
    """Slurm's commands are not here or its controller does not answer."""


@dataclass(frozen=True)
class Job:
    """One job in the queue. id: as Slurm writes it, 12_3 in an array. state: in Slurm's words."""

    id: str
    name: str
    state: str
    reason: str
    node: str

    @property
    def held(self) -> bool:
        """Whether it waits until somebody releases it."""
        return self.state == "PENDING" and "Held" in self.reason

    @property
    def running(self) -> bool:
        """Whether it is on a node."""
        return self.state in ("RUNNING", "COMPLETING", "CONFIGURING")


def find_jobs(names: Iterable[str]) -> list[Job]:
    """The jobs in the queue with one of these names. Raises Unreachable."""
    jobs = []
    for some in _split_chunks(sorted(set(names)), 50):
        text = _run_command(
            "squeue", "-h", "-r", "-o", "%i|%T|%N|%j|%r", f"--name={','.join(some)}"
        )
        for line in text.splitlines():
            number, state, node, name, reason = line.split("|", 4)
            jobs.append(Job(number, name, state, reason, node))
    return jobs


def get_array_limit() -> int:
    """How many jobs an array may have (MaxArraySize). Raises Unreachable."""
    found = re.search(
        r"^MaxArraySize\s*=\s*(\d+)", _run_command("scontrol", "show", "config"), re.M
    )
    return int(found.group(1)) if found else 1000


def release(jobs: Sequence[str]) -> None:
    """Let held jobs start. Raises Unreachable."""
    for some in _split_chunks(jobs, CHUNK):
        _run_command("scontrol", "release", *some)


def cancel(jobs: Sequence[str]) -> None:
    """End jobs, waiting or running. Raises Unreachable."""
    for some in _split_chunks(jobs, CHUNK):
        _run_command("scancel", *some)


def check_slurm() -> None:
    """Raise UserError where jobs cannot be sent from."""
    for command in ("sbatch", "srun", "squeue", "scontrol"):
        if shutil.which(command) is None:
            raise UserError(
                f"{command} is not on this machine; give the command on a login node of the cluster"
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
