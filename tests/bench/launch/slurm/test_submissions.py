"""The list of submissions without a cluster: its state, and who may write it."""

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
    return Job(number, "name", state, "Resources", "")


def test_runs_are_queued_while_their_job_is() -> None:
    array = Array.new("window", "abc", [["a", "b"], ["c"]])
    array.jobs = ["7_0", "7_1"]
    assert set(locate_runs([array], [job("7_1")])) == {"c"}
    assert set(locate_runs([array], [])) == set()
    assert locate_runs([array], [job("7_0", "RUNNING")])["a"].number == "7_0"
    # Nobody to be asked: what is written down is believed.
    assert set(locate_runs([array], None)) == {"a", "b", "c"}
    array.jobs = []  # never sent, as far as is known
    assert set(locate_runs([array], None)) == set()


def test_what_is_written_is_read_again_and_names_differ(tmp_path: Path) -> None:
    submissions = Submissions(tmp_path)
    arrays = [Array.new("window", "abc", [[str(i)]]) for i in range(3)]
    assert len({array.name for array in arrays}) == 3
    for array in arrays:
        submissions.write(array)
    arrays[1].ended = True
    submissions.write(arrays[1])
    assert submissions.every() == arrays
    assert submissions.list_active() == [arrays[0], arrays[2]]
    submissions.remove_array(arrays[0])
    assert submissions.list_active() == [arrays[2]]


def test_a_second_launcher_waits(tmp_path: Path) -> None:
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
    """A scontrol that answers the one question that planning asks."""
    command = tmp_path / "scontrol"
    command.write_text("#!/bin/sh\necho 'MaxArraySize            = 3'\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")


@pytest.mark.usefixtures("_largest_array")
def test_only_what_is_missing_would_be_sent(tmp_path: Path) -> None:
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
    # A run that failed in a job which is still busy with others will not be made by that job.
    assert {s.id for s in intent.specs} == {failed.id, given_up.id, new.id}
    assert set(intent.queued) == {queued.id}
    # The largest array of this cluster holds three jobs.
    many = [make_tiny_spec(seed=i) for i in range(10, 20)]
    plan = make_plan(many, tmp_path)
    intent = plan_submission(plan, read_statuses(many, tmp_path), {}, settings, tmp_path)
    assert [len(pack) for pack in intent.arrays[0].packs] == [3, 4, 3]
