"""Status of a run, and its heartbeat while a process executes it."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from bench.launch.attempt import run_and_report
from bench.results.heartbeat import Heartbeat, RunTakenOver, is_alive_elsewhere, read
from bench.results.run_folder import RunFolder
from bench.results.run_status import RunStatus, read_status, read_statuses
from tests.support.tiny_runs import execute_run, make_tiny_spec


def folder_of(results: Path, **files: dict[str, Any]) -> RunFolder:
    folder = RunFolder(results, make_tiny_spec().id)
    folder.create()
    for name, values in files.items():
        folder.write(f"{name}.json", values)
    return folder


def remote_heartbeat(**changes: Any) -> dict[str, Any]:
    """Return a heartbeat from another machine."""
    values = {
        "token": "another", "host": "elsewhere", "node": "n7", "pid": 1, "job": "7_1", "time": 1,
        "step": 3, "steps": 9, "steps_per_second": 1.0,
    }  # fmt: skip
    return {**values, **changes}


def test_the_status_follows_from_the_files_of_a_run(tmp_path: Path) -> None:
    spec = make_tiny_spec()
    assert read_status(spec, tmp_path) == RunStatus("to do")
    folder = folder_of(tmp_path)
    assert read_status(spec, tmp_path).state == "to do"
    folder.checkpoint.touch()
    assert read_status(spec, tmp_path).state == "interrupted"
    folder.write("failure.json", {"reason": "no", "log": "there", "job": "7_1"})
    assert read_status(spec, tmp_path) == RunStatus("failed", "no", "there", "7_1")
    folder.write("failure.json", {"reason": "needs", "blocked_by": ["x"]})
    assert read_status(spec, tmp_path).state == "blocked"
    with folder.hold_lock():
        assert read_status(spec, tmp_path).state == "running"
    folder.write("result.json", {"status": "diverged", "reason": "loss"})
    assert read_status(spec, tmp_path) == RunStatus("diverged", "loss")
    keeps = spec.with_changes(keep_model=True)
    folder.write("result.json", {"status": "done", "reason": ""})
    assert read_status(keeps, tmp_path).state == "blocked"  # its weights are missing
    assert (
        read_statuses([spec, make_tiny_spec(seed=5)], tmp_path)[make_tiny_spec(seed=5).id].state
        == "to do"
    )


def test_reading_the_status_creates_no_files(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    read_statuses([make_tiny_spec(), make_tiny_spec(seed=1)], tmp_path)
    assert list((tmp_path / "runs").iterdir()) == [folder.path]
    assert list(folder.path.iterdir()) == []


def test_the_heartbeat_contains_the_step_and_is_deleted_at_the_end(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    with folder.hold_lock(), Heartbeat(folder, period=0.05) as beat:
        assert read_status(make_tiny_spec(), tmp_path).progress is not None
        beat.note_step(10, 100)
        time.sleep(0.1)
        beat.note_step(12, 100)
        time.sleep(0.3)
        values = read(folder.path)
        assert values
        assert (values["step"], values["steps"]) == (12, 100)
        assert 2 < values["steps_per_second"] <= 20
    assert read(folder.path) is None


def test_a_dead_process_is_distinguished_from_a_silent_one(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, progress=remote_heartbeat(time=time.time() - 300))
    dead = read_status(make_tiny_spec(), tmp_path)
    assert dead.state == "interrupted"
    assert "job 7_1 on n7" in dead.reason
    with folder.hold_lock():
        silent = read_status(make_tiny_spec(), tmp_path)
    assert silent.state == "running"
    assert 299 < silent.silence < 400


def test_a_heartbeat_of_another_process_raises_run_taken_over(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    with Heartbeat(folder, period=0.05) as beat:
        beat.note_step(1, 9)
        folder.write("progress.json", remote_heartbeat())
        time.sleep(0.3)
        with pytest.raises(RunTakenOver):
            beat.note_step(2, 9)
    assert read(folder.path) == remote_heartbeat()


def test_a_run_that_is_running_on_another_machine_is_not_executed_here(tmp_path: Path) -> None:
    """Detect the run by its changing heartbeat.

    Its lock may be invisible here, and its clock may be wrong.
    """
    spec, over = make_tiny_spec(), threading.Event()
    folder = folder_of(tmp_path)

    def elsewhere() -> None:
        beat = 0
        while not over.wait(0.2):
            beat += 1
            values = remote_heartbeat(time=beat)
            path = folder.path / "progress.json"
            path.with_suffix(".new").write_text(json.dumps(values))
            path.with_suffix(".new").replace(path)
        execute_run(spec, tmp_path / "there")
        result = (tmp_path / "there/runs" / spec.id / "result.json").read_text()
        folder.write("result.json", json.loads(result))
        (folder.path / "progress.json").unlink()

    thread = threading.Thread(target=elsewhere)
    thread.start()
    time.sleep(0.5)
    assert is_alive_elsewhere(folder, lambda: False)
    assert read_status(spec, tmp_path).state != "running"  # because its clock is far behind
    threading.Timer(3, over.set).start()
    kind, result = run_and_report(spec, tmp_path, lambda: False, lambda step, steps: None)
    thread.join()
    assert kind == "found"
    assert not folder.checkpoint.exists()
    assert not (folder.path / "epochs.jsonl").exists()  # nothing was trained here
    assert result == folder.result()


def test_a_run_that_died_on_another_machine_may_be_executed_here(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, progress=remote_heartbeat())
    assert not is_alive_elsewhere(folder, lambda: False, patience=1.5)


def test_the_heartbeat_shows_the_first_step_at_once(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, "feedfeedfeed")
    folder.create()
    with Heartbeat(folder, period=600) as beat:
        beat.note_step(1, 8)
        until = time.monotonic() + 20
        while (read(folder.path) or {}).get("step") != 1:
            assert time.monotonic() < until
            time.sleep(0.01)
