"""Jobs, executed by submitit's local executor, which needs no cluster."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import submitit

import bench
from bench.files import read_json
from bench.launch.slurm.job import PackRunner
from bench.results.run_folder import RunFolder
from bench.spec import Spec
from tests.support.tiny_runs import execute_run, load_essence, make_tiny_spec

CODE = str(Path(bench.__file__).resolve().parent.parent)


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., submitit.Job]:
    """Return a function that starts a pack in a new process."""
    monkeypatch.setenv("PYTHONPATH", CODE)

    def go(specs: list[Spec], code: str = CODE) -> submitit.Job:
        executor = submitit.LocalExecutor(tmp_path / "jobs")
        executor.update_parameters(timeout_min=10)
        runs = [spec.to_dict() for spec in specs]
        return executor.submit(PackRunner(), code, str(tmp_path), runs, 1)

    return go


def test_a_pack_continues_after_failures_and_records_blocked_runs(
    start: Callable[..., submitit.Job], tmp_path: Path
) -> None:
    broken = RunFolder(tmp_path, "feedfeedfeed")  # done, but its weights are missing
    broken.create()
    broken.write("result.json", {"status": "done", "reason": ""})
    failed = RunFolder(tmp_path, "badbadbadbad")
    failed.create()
    failed.write("failure.json", {"reason": "no luck"})
    bad = make_tiny_spec(weights="run:feedfeedfeed")
    blocked = make_tiny_spec(weights="run:badbadbadbad")
    dependant = make_tiny_spec("shortened", options={}, match=(bad.id,))
    good = make_tiny_spec(seed=3)
    states = start([dependant, blocked, bad, good]).result()
    assert states == {
        dependant.id: "blocked", blocked.id: "blocked", bad.id: "failed", good.id: "done",
    }  # fmt: skip
    why = read_json(RunFolder(tmp_path, blocked.id).path / "failure.json")
    assert why["reason"] == "needs run badbadbadbad, which failed: no luck"
    assert why["blocked_by"] == ["badbadbadbad"]


def test_a_run_resumed_after_a_signal_gives_identical_results(
    start: Callable[..., submitit.Job], tmp_path: Path
) -> None:
    spec = make_tiny_spec("autofreeze", epochs=30)
    job = start([spec])
    folder = RunFolder(tmp_path, spec.id)
    until = time.monotonic() + 120
    while not (folder.path / "epochs.jsonl").exists():
        assert time.monotonic() < until, job.stderr()
        time.sleep(0.02)
    for task in Path(f"/proc/{job._process.pid}/task").glob("*/children"):
        for child in task.read_text().split():  # skip submitit's local controller process
            os.kill(int(child), signal.SIGUSR2)
    assert job.result() == {spec.id: "done"}
    assert folder.result()["resumed"]
    assert "job interrupted; checkpoints are written" in job.stdout()
    execute_run(spec, tmp_path / "straight")
    assert load_essence(spec, tmp_path) == load_essence(spec, tmp_path / "straight")


def test_a_job_that_imports_other_code_than_submitted_executes_no_run(
    start: Callable[..., submitit.Job], tmp_path: Path
) -> None:
    with pytest.raises(submitit.core.utils.FailedJobError, match="was submitted with the code in"):
        start([make_tiny_spec()], str(tmp_path)).result()
    assert not (tmp_path / "runs").exists()


@pytest.mark.usefixtures("dead_server")
def test_a_job_whose_fork_server_always_dies_ends_with_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUBMITIT_EXECUTOR", "local")
    monkeypatch.setenv("SUBMITIT_LOCAL_JOB_ID", "1")
    monkeypatch.setenv("SUBMITIT_FOLDER", str(tmp_path))
    with pytest.raises(
        SystemExit,
        match=r"^\S+ a process .* fork server was killed 6 times;",
    ):
        PackRunner()(CODE, str(tmp_path), [make_tiny_spec().to_dict()], 1)


def test_a_file_that_changed_after_submission_fails_the_run(
    start: Callable[..., submitit.Job], tmp_path: Path
) -> None:
    spec = make_tiny_spec("smartfrz")
    file = tmp_path / "predictor.safetensors"
    file.write_bytes(b"edited")
    sent = spec.with_changes(paths={**spec.paths, "predictor": str(file)})
    assert start([sent]).result() == {spec.id: "failed"}
    reason = read_json(RunFolder(tmp_path, spec.id).path / "failure.json")["reason"]
    assert "predictor" in reason
    assert "has changed" in reason
