"""Records of submissions, without a cluster: their states, and the lock that protects them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench.launch.slurm.cluster_file import load_settings
from bench.launch.slurm.slurm_commands import Job
from bench.launch.slurm.submissions import Array, Submissions, locate_runs
from bench.launch.slurm.submit import plan_submission
from bench.planning.plan import make_plan
from bench.results.run_folder import RunFolder
from bench.results.run_status import read_statuses
from tests.support.tiny_runs import make_tiny_spec


def job(number: str, state: str = "PENDING") -> Job:
    return Job(number, "name", state, "Resources")


def test_a_run_is_queued_while_its_job_is_in_the_queue() -> None:
    array = Array.new("window", "abc", [["a", "b"], ["c"]])
    array.jobs = ["7_0", "7_1"]
    assert set(locate_runs([array], [job("7_1")])) == {"c"}
    assert set(locate_runs([array], [])) == set()
    assert locate_runs([array], [job("7_0", "RUNNING")])["a"].number == "7_0"
    # Slurm does not answer: assume that all recorded jobs are in the queue.
    assert set(locate_runs([array], None)) == {"a", "b", "c"}
    array.jobs = []  # no job ids, so not known to be submitted
    assert set(locate_runs([array], None)) == set()


def test_records_survive_writing_and_reading_and_have_unique_names(tmp_path: Path) -> None:
    submissions = Submissions(tmp_path)
    arrays = [Array.new("window", "abc", [[str(i)]]) for i in range(3)]
    assert len({array.name for array in arrays}) == 3
    for array in arrays:
        submissions.write(array)
    arrays[1].ended = True
    submissions.write(arrays[1])
    assert submissions.read_all() == arrays
    assert submissions.list_active() == [arrays[0], arrays[2]]
    submissions.remove_array(arrays[0])
    assert submissions.list_active() == [arrays[2]]


def test_a_second_launcher_waits_for_the_lock(tmp_path: Path) -> None:
    script = (
        "import sys, time\nfrom pathlib import Path\n"
        "from bench.launch.slurm.submissions import Submissions\n"
        "with Submissions(Path(sys.argv[1])).hold_lock():\n"
        "    print('held', flush=True); time.sleep(2)"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True,
        env={**os.environ},
    )  # fmt: skip
    assert other.stdout
    assert other.stdout.readline() == "held\n"
    began = time.monotonic()
    with Submissions(tmp_path).hold_lock():
        assert time.monotonic() - began > 1
    other.wait()


@pytest.fixture
def _largest_array(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Put a fake scontrol on PATH that prints MaxArraySize."""
    command = tmp_path / "scontrol"
    command.write_text("#!/bin/sh\necho 'MaxArraySize            = 3'\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")


@pytest.mark.usefixtures("_largest_array")
def test_only_runs_that_are_missing_are_submitted(tmp_path: Path) -> None:
    done, queued, failed, given_up, new = specs = [make_tiny_spec(seed=i) for i in range(5)]
    for spec, file, values in (
        (done, "result.json", {"status": "done", "reason": "", "clocks": {"whole": 1.0}}),
        (failed, "failure.json", {"reason": "no", "job": "5_0"}),
        (given_up, "failure.json", {"reason": "no", "job": "7_0"}),
    ):
        RunFolder(tmp_path, spec.id).create()
        RunFolder(tmp_path, spec.id).write(file, values)
    array = Array.new("window", "abc", [[queued.id, given_up.id]])
    array.jobs = ["7_0"]
    (tmp_path / "cluster.toml").write_text("[packing]\nruns_per_job = 1")
    settings = load_settings(str(tmp_path / "cluster.toml"))
    there = read_statuses(specs, tmp_path)
    found = locate_runs([array], [job("7_0", "RUNNING")])
    intent = plan_submission(make_plan(specs, tmp_path), there, found, settings, tmp_path)
    # A job that is still executing other runs does not execute a failed run again.
    assert {s.id for s in intent.specs} == {failed.id, given_up.id, new.id}
    assert set(intent.queued) == {queued.id}
    # An array of this cluster may have three jobs at most.
    many = [make_tiny_spec(seed=i) for i in range(10, 20)]
    plan = make_plan(many, tmp_path)
    intent = plan_submission(plan, read_statuses(many, tmp_path), {}, settings, tmp_path)
    assert [len(pack) for pack in intent.arrays[0].packs] == [3, 4, 3]
