"""Last lines of a job's script: when a job requeues itself, and under which id."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from bench.launch.slurm.submit import write_teardown

ARRAY = {"SLURM_JOB_ID": "36", "SLURM_ARRAY_JOB_ID": "36", "SLURM_ARRAY_TASK_ID": "2"}


def end_job(folder: Path, status: int, most: int, **environment: str) -> str:
    """End a job's script with a status. Return the arguments of its call of scontrol, or ""."""
    scontrol, calls = folder / "scontrol", folder / "calls"
    scontrol.write_text(f'#!/bin/sh\necho "$@" > {calls}\n')
    scontrol.chmod(0o755)
    path = f"{folder}:{os.environ['PATH']}"
    script = f"(exit {status})\n{write_teardown(most)}"
    done = subprocess.run(
        ["bash", "-c", script], env={"PATH": path, **environment}, stdout=subprocess.DEVNULL,
        check=False,
    )  # fmt: skip
    assert done.returncode == status
    return calls.read_text().strip() if calls.exists() else ""


@pytest.mark.parametrize("status", [137, 140, 1])
def test_only_the_job_itself_is_requeued(status: int, tmp_path: Path) -> None:
    """Requeue an array job by its task id.

    One job of an array has the id of the array. If this id is given, Slurm requeues all jobs.
    """
    assert end_job(tmp_path, status, 20, **ARRAY) == "requeue 36_2"
    assert end_job(tmp_path, status, 20, SLURM_JOB_ID="36") == "requeue 36"


@pytest.mark.parametrize(
    ("status", "restarts", "most", "requeues"),
    [
        (137, 19, 20, True),
        (137, 20, 20, False),
        (1, 2, 20, True),
        (1, 3, 20, False),
        (1, 0, 0, False),
        (137, 0, 0, False),
        (0, 0, 20, False),
        (255, 0, 20, False),  # submitit has requeued the job
    ],
)
def test_the_number_of_requeues_is_limited(
    status: int, restarts: int, most: int, requeues: bool, tmp_path: Path
) -> None:
    call = end_job(tmp_path, status, most, **ARRAY, SLURM_RESTART_COUNT=str(restarts))
    assert bool(call) is requeues
