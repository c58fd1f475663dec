"""Pool of worker processes: order, failures, kills, two launchers at once."""

import errno
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import pytest

from bench.errors import ProcessLost, UserError
from bench.files import read_json
from bench.launch.capacity import count_workers
from bench.launch.pool import Pool
from bench.launch.processes import fork_server
from bench.launch.worker import start_worker
from bench.planning.plan import make_plan
from bench.results.run_folder import RunFolder
from bench.results.run_status import read_status
from bench.spec import Spec
from tests.support.paths import ROOT
from tests.support.recording_watcher import RecordingWatcher
from tests.support.tiny_runs import execute_run, load_essence, make_tiny_spec


def test_runs_start_after_the_runs_they_need_and_equal_runs_executed_alone(tmp_path: Path) -> None:
    backbone = make_tiny_spec(data="glyphs:few", keep_model=True)
    cell = [make_tiny_spec("autofreeze", seed=s, weights=f"run:{backbone.id}") for s in (0, 1)]
    matched = make_tiny_spec("shortened", options={}, match=tuple(s.id for s in cell))
    watcher = RecordingWatcher()
    outcome = Pool(make_plan([matched, *cell, backbone], tmp_path), tmp_path, 2, watcher).run()
    assert len(outcome.finished) == 4
    assert not outcome.failed
    moments = {event: i for i, event in enumerate(watcher.events)}
    for spec in cell:
        assert moments["finished", backbone.id] < moments["started", spec.id]
        assert moments["finished", spec.id] < moments["started", matched.id]
    execute_run(backbone, tmp_path / "alone")
    execute_run(cell[0], tmp_path / "alone")
    assert load_essence(cell[0], tmp_path) == load_essence(cell[0], tmp_path / "alone")
    # A second launch has nothing to do.
    assert make_plan([matched, *cell, backbone], tmp_path).todo == []


def test_a_killed_worker_fails_only_its_run_which_stays_to_do(tmp_path: Path) -> None:
    slow = make_tiny_spec(epochs=200)
    others = [make_tiny_spec(seed=s) for s in (1, 2)]
    dependant = make_tiny_spec(weights=f"run:{slow.id}")

    def kill(what: str, spec: Spec) -> None:
        if what == "stepped" and spec.id == slow.id:
            pid = next(w.process.pid for w in pool._workers if w.spec and w.spec.id == slow.id)
            os.kill(pid, signal.SIGKILL)

    plan = make_plan([slow, dependant, *others], tmp_path)
    pool = Pool(plan, tmp_path, 2, RecordingWatcher(kill))
    outcome = pool.run()
    assert set(outcome.failed) == {slow.id}
    assert "exit code -9" in outcome.failed[slow.id]
    assert [s.id for s in outcome.blocked] == [dependant.id]
    assert {s.id for s in outcome.finished} == {s.id for s in others}
    folder = RunFolder(tmp_path, slow.id)
    assert read_status(slow, tmp_path).state == "failed"
    assert "exit code" in read_json(folder.path / "failure.json")["reason"]
    assert {s.id for s in make_plan([slow, *others], tmp_path).todo} == {slow.id}


def test_runs_that_another_launcher_executes_start_last(tmp_path: Path) -> None:
    first, second = make_tiny_spec(), make_tiny_spec(seed=1)
    pool = Pool(make_plan([first, second], tmp_path), tmp_path, 2, RecordingWatcher())
    assert pool._choose() == first
    with RunFolder(tmp_path, first.id).hold_lock():
        assert pool._choose() == second
        with RunFolder(tmp_path, second.id).hold_lock():
            assert pool._choose() == first


def test_a_worker_killed_while_idle_is_replaced(tmp_path: Path) -> None:
    first, second = make_tiny_spec(keep_model=True), make_tiny_spec(seed=5)
    dependant, other = (
        s.with_changes(weights=f"run:{first.id}")
        for s in (make_tiny_spec(seed=10), make_tiny_spec(seed=15))
    )

    def kill(what: str, spec: Spec) -> None:
        if what == "finished" and spec.id == first.id:
            for worker in pool._workers:
                if worker.spec is None:
                    os.kill(worker.process.pid, signal.SIGKILL)
                    worker.process.join()

    plan = make_plan([first, second, dependant, other], tmp_path)
    pool = Pool(plan, tmp_path, 2, RecordingWatcher(kill))
    outcome = pool.run()
    assert outcome.failed == {}
    assert {s.id for s in outcome.finished} == {s.id for s in plan.specs}


def test_a_worker_is_started_again_if_the_fork_server_dies_meanwhile(
    server: forkserver.ForkServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kill the server after it was found alive and before it answers."""
    killed: list[int] = []

    def connect(descriptors: Any) -> Any:
        if len(killed) < 4:
            killed.append(server._forkserver_pid)
            os.kill(killed[-1], signal.SIGKILL)
            raise EOFError("unexpected EOF")
        return server.connect_to_new_process(descriptors)

    monkeypatch.setattr(forkserver, "connect_to_new_process", connect)
    context = multiprocessing.get_context("forkserver")
    worker = start_worker(context, 0, context.Event(), None)
    assert worker.process.is_alive()
    worker.pipe.close()
    worker.process.join()
    assert len({*killed, server._forkserver_pid}) == 5


@pytest.mark.usefixtures("dead_server")
def test_a_fork_server_that_always_dies_ends_the_launch_with_one_line(tmp_path: Path) -> None:
    pool = Pool(make_plan([make_tiny_spec()], tmp_path), tmp_path, 1, RecordingWatcher())
    with pytest.raises(ProcessLost, match=r"the fork server was killed 6 times; run the same"):
        pool.run()


@pytest.mark.usefixtures("server")
def test_another_error_than_the_death_of_the_fork_server_keeps_its_cause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def connect(descriptors: Any) -> Any:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(forkserver, "connect_to_new_process", connect)
    monkeypatch.setattr(fork_server, "RETRY_SECONDS", 0.0)
    pool = Pool(make_plan([make_tiny_spec()], tmp_path), tmp_path, 1, RecordingWatcher())
    with pytest.raises(OSError, match="Too many open files"):
        pool.run()


@pytest.mark.usefixtures("server")
def test_a_run_goes_to_the_next_worker_if_idle_workers_are_killed(tmp_path: Path) -> None:
    spec = make_tiny_spec()
    pool = Pool(make_plan([spec], tmp_path), tmp_path, 1, RecordingWatcher())
    start, killed = pool._start_worker, []

    def start_and_kill(slot: int) -> Any:
        worker = start(slot)
        if len(killed) < 2:
            worker.process.kill()
            worker.process.join()
            killed.append(worker.process.pid)
        return worker

    pool._start_worker = start_and_kill
    pool._workers = [start_and_kill(0)]
    pool._give(pool._workers[0], spec)
    (worker,) = pool._workers
    assert worker.spec == spec
    assert worker.process.pid not in killed
    worker.process.kill()
    worker.process.join()


def test_two_runs_never_share_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    alone, pair = make_tiny_spec(device="cuda"), make_tiny_spec(device="cuda", replicas=2)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 4)
    assert [count_workers([alone], asked) for asked in (0, 3, 4)] == [4, 3, 4]
    assert count_workers([alone, pair]) == 2
    with pytest.raises(UserError, match=r"--workers 3: .* 2 at a time; use --workers 2 or fewer"):
        count_workers([alone, pair], 3)
    assert count_workers([make_tiny_spec()], 3) == 3  # CPU runs may share cores on request
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    assert count_workers([alone], 3) == 3  # no error about the number: there is no GPU at all


def test_a_failing_run_is_recorded_with_its_traceback(tmp_path: Path) -> None:
    bad, good = make_tiny_spec(weights="run:feedfeedfeed"), make_tiny_spec()
    with pytest.raises(UserError, match="feedfeedfeed"):
        make_plan([bad, good], tmp_path)
    broken = RunFolder(tmp_path, "feedfeedfeed")  # done, but its weights are missing
    broken.create()
    broken.write("result.json", {"status": "done"})
    outcome = Pool(make_plan([bad, good], tmp_path), tmp_path, 1, RecordingWatcher()).run()
    assert list(outcome.failed) == [bad.id]
    assert [s.id for s in outcome.finished] == [good.id]
    assert "Traceback" in (RunFolder(tmp_path, bad.id).path / "traceback.txt").read_text()


def test_a_run_is_locked_by_one_holder_at_a_time(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, "abc")
    with folder.hold_lock() as first, RunFolder(tmp_path, "abc").hold_lock() as second:
        assert first
        assert not second
    with folder.hold_lock() as again:
        assert again


def test_two_launchers_at_once_both_report_every_result(tmp_path: Path) -> None:
    specs = [make_tiny_spec(seed=s) for s in range(3)]
    watchers = [RecordingWatcher(), RecordingWatcher()]
    pools = [Pool(make_plan(specs, tmp_path), tmp_path, 1, w) for w in watchers]
    threads = [threading.Thread(target=pool.run) for pool in pools]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stamps = [read_json(RunFolder(tmp_path, s.id).path / "result.json")["clocks"] for s in specs]
    assert len(stamps) == 3
    ids = sorted(s.id for s in specs)
    for watcher in watchers:  # both get every result, whichever pool executed the run
        assert sorted(i for what, i in watcher.events if what in ("finished", "found")) == ids
    executed = [i for watcher in watchers for what, i in watcher.events if what == "finished"]
    assert sorted(executed) == ids  # each run counts as executed by one launcher


def test_runs_of_a_killed_launcher_write_a_checkpoint_and_do_not_fail(
    tmp_path: Path,
) -> None:
    script = (
        "import sys; from pathlib import Path; "
        "from tests.support.tiny_runs import make_tiny_spec as tiny;"
        "from bench.launch.launch import launch;"
        "launch([tiny(epochs=400), tiny(epochs=400, seed=1)], Path(sys.argv[1]), 2)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    launcher = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)],
        env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    deadline = time.monotonic() + 180
    while len(list(tmp_path.glob("runs/*/epochs.jsonl"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    launcher.kill()
    launcher.wait()
    while len(list(tmp_path.glob("runs/*/checkpoint.pt"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    for spec in (make_tiny_spec(epochs=400), make_tiny_spec(epochs=400, seed=1)):
        folder = RunFolder(tmp_path, spec.id)
        assert folder.checkpoint.exists()
        assert not (folder.path / "failure.json").exists()
