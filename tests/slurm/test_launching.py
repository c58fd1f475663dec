"""Submission to Slurm by two launchers at once, by a killed launcher and with edited code."""

from __future__ import annotations

import json
import os
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tests.support.paths import ROOT
from tests.support.slurm_cluster import read_output
from tests.support.slurm_lab import Lab, list_queue, wait_until

SMALL_JOBS = "timeout_min = 30\nsignal_delay_s = 5\n[packing]\nruns_per_job = 2\n"


def queued_runs(lab: Lab) -> Counter[str]:
    """Return how many queued jobs contain each run."""
    numbers = {line.split()[0] for line in list_queue()}
    return Counter(
        run
        for array in lab.list_arrays()
        for number, pack in zip(array.jobs, array.packs, strict=False)
        if number in numbers
        for run in pack
    )


def wrapper(folder: Path, script: str) -> str:
    """Write `script` to `folder` as the command sbatch, and return a PATH that finds it first.

    REAL in the script stands for the path of the real sbatch.
    """
    folder.mkdir(exist_ok=True)
    real = subprocess.run(["which", "sbatch"], capture_output=True, text=True, check=True)
    file = folder / "sbatch"
    file.write_text(f"#!/bin/bash\n{script.replace('REAL', real.stdout.strip())}\n")
    file.chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


def test_two_concurrent_launchers_submit_each_run_once_and_cancel_removes_all(
    lab: Callable[..., Lab], closed: Callable[[], None]
) -> None:
    here = lab("tiny.toml", settings=SMALL_JOBS)
    shells = [here.start("sweep", "--launcher", "slurm", "--yes", "--dirty") for _ in range(2)]
    printed = [shell.communicate(timeout=120) for shell in shells]
    assert [shell.returncode for shell in shells] == [0, 0], printed
    assert queued_runs(here) == Counter(dict.fromkeys(queued_runs(here), 1))
    assert len(queued_runs(here)) == 6
    assert "6 runs are already in the queue" in here.send()  # a third time
    assert sum(bool(array.jobs) for array in here.list_arrays()) == 1
    assert "6 queued" in here.run_command("status")
    here.run_command("cancel")
    wait_until(lambda: not list_queue(), 30, "an empty queue", here.log)
    assert "6 to do" in here.run_command("status")
    here.send()
    closed()
    wait_until(lambda: len(here.done()) == 6 and not list_queue(), 120, "end", here.log)
    assert "6 done" in here.run_command("status", "--watch")


def test_an_array_of_a_launcher_killed_before_recording_its_job_ids_is_cancelled(
    lab: Callable[..., Lab], tmp_path: Path
) -> None:
    here = lab("tiny.toml", settings=SMALL_JOBS)
    path = wrapper(tmp_path / "bin", 'REAL "$@"; kill -KILL $PPID; sleep 1')
    killed = here.start("sweep", "--launcher", "slurm", "--yes", "--dirty", PATH=path)
    killed.communicate(timeout=120)
    assert killed.returncode == -9
    (orphan,) = {line.split()[0].partition("_")[0] for line in list_queue()}
    assert [array.jobs for array in here.list_arrays()] == [[]]  # no job id is recorded
    assert "6 to do" in here.run_command("status")  # not started, because the array is held
    here.send()
    assert not [line for line in list_queue() if line.startswith(orphan)]
    assert len(queued_runs(here)) == 6
    wait_until(lambda: len(here.done()) == 6 and not list_queue(), 120, "end", here.log)


def test_the_next_launcher_releases_the_array_of_a_killed_one(
    lab: Callable[..., Lab], tmp_path: Path
) -> None:
    here = lab("tiny.toml", settings=SMALL_JOBS)
    path = wrapper(tmp_path / "bin", 'exec REAL "$@"')
    (tmp_path / "bin" / "scontrol").write_text(
        f'#!/bin/bash\nif [ "$1" = release ]; then kill -KILL $PPID; sleep 1; fi\n'
        f'PATH={os.environ["PATH"]} exec scontrol "$@"\n'
    )
    (tmp_path / "bin" / "scontrol").chmod(0o755)
    killed = here.start("sweep", "--launcher", "slurm", "--yes", "--dirty", PATH=path)
    killed.communicate(timeout=120)
    assert killed.returncode == -9
    (held,) = {line.split()[0].partition("_")[0] for line in list_queue()}
    assert "nothing to submit" in here.send()  # the existing array is released
    wait_until(lambda: len(here.done()) == 6 and not list_queue(), 120, "end", here.log)
    assert [array.jobs[0].partition("_")[0] for array in here.list_arrays()] == [held]


def test_jobs_use_the_code_and_files_of_their_submission(
    lab: Callable[..., Lab], closed: Callable[[], None], tmp_path: Path
) -> None:
    checkout = tmp_path / "checkout"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(checkout)], check=True)
    here = lab("tiny.toml", "--seeds", "2", code=checkout, settings=SMALL_JOBS)
    strategy = tmp_path / "mine.py"
    strategy.write_text(
        "from strategies.base import Strategy\nclass Mine(Strategy):\n    name = 'mine'\n"
    )
    text = Path(here.sweep).read_text()
    here.sweep = str(tmp_path / "mine.toml")
    Path(here.sweep).write_text(
        f'{text}\n[[methods]]\nname = "mine"\nstrategy = "{strategy}:Mine"\n'
    )
    here.finish("sweep", "--launcher", "slurm", "--yes")
    # Edit and commit everything while the jobs wait.
    strategy.write_text("raise SystemExit('edited')\n")
    (checkout / "bench" / "training" / "loop.py").write_text("raise SystemExit('edited')\n")
    commit = read_output("git", "-C", str(checkout), "rev-parse", "HEAD")[:12]
    author = ["-c", "user.name=t", "-c", "user.email=t@t"]
    subprocess.run(["git", "-C", checkout, *author, "commit", "-qam", "edited"], check=True)
    closed()
    wait_until(lambda: len(here.done()) == 4 and not list_queue(), 120, "end", here.log)
    for path in here.results.glob("runs/*/environment.json"):
        assert json.loads(path.read_text())["commit"] == commit


def test_uncommitted_changes_are_submitted_only_with_dirty(
    lab: Callable[..., Lab], tmp_path: Path
) -> None:
    checkout = tmp_path / "checkout"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(checkout)], check=True)
    (checkout / "bench" / "new.py").write_text("")
    here = lab("tiny.toml", code=checkout)
    refused = here.start("sweep", "--launcher", "slurm", "--yes")
    errors = refused.communicate(timeout=60)[1]
    assert "error: uncommitted changes in bench/new.py; commit them" in errors
    assert refused.returncode == 2
    assert not list_queue()


def test_a_rejected_submission_prints_one_line_and_leaves_no_jobs(lab: Callable[..., Lab]) -> None:
    here = lab("storm.toml", settings='timeout_min = 30\npartition = "nowhere"\n')
    refused = here.start("sweep", "--launcher", "slurm", "--yes", "--dirty")
    errors = refused.communicate(timeout=60)[1]
    assert refused.returncode == 2
    assert "invalid partition" in errors.lower()
    assert len(errors.splitlines()) == 1
    assert not list_queue()
    assert "26 to do" in here.run_command("status")
