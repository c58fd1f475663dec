"""Pool of worker processes: order, failures, kills, Ctrl-C, two launchers at once."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import pytest

from bench.errors import UserError
from bench.files import read_json
from bench.launch.capacity import count_workers
from bench.launch.pool import Pool
from bench.launch.processes import fork_server
from bench.launch.worker import start_worker
from bench.planning.plan import make_plan
from bench.planning.run_inputs import resolve
from bench.results.run_folder import RunFolder
from bench.results.run_status import read_status
from bench.spec import Spec
from tests.support.paths import ROOT
from tests.support.tiny_runs import execute_run, load_essence, make_tiny_spec


class RecordingWatcher:
    """Watcher that records its events and may call a function for each."""

    def __init__(self, act: Any = None) -> None:
        self.events: list[tuple[str, str]] = []
        self._act = act

    def _note(self, what: str, spec: Spec) -> None:
        self.events.append((what, spec.id))
        if self._act:
            self._act(what, spec)

    def started(self, spec: Spec) -> None:
        self._note("started", spec)

    def stepped(self, spec: Spec, step: int, steps: int) -> None:
        self._note("stepped", spec)

    def finished(self, spec: Spec, result: dict[str, Any]) -> None:
        self._note("finished", spec)

    def found(self, spec: Spec, result: dict[str, Any]) -> None:
        self._note("found", spec)

    def failed(self, spec: Spec, reason: str) -> None:
        self._note("failed", spec)


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


def test_a_worker_killed_while_idle_is_replaced(tmp_path: Path) -> None:
    first, second = make_tiny_spec(keep_model=True), make_tiny_spec(seed=1)
    dependant, other = (
        s.with_changes(weights=f"run:{first.id}")
        for s in (make_tiny_spec(seed=2), make_tiny_spec(seed=3))
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


@pytest.mark.parametrize("after", [1.5, 3.0, 4.5])
def test_an_early_ctrl_c_ends_the_launch_without_a_traceback(tmp_path: Path, after: float) -> None:
    """The fork server may still be importing torch, which takes seconds."""
    command = [
        sys.executable, "-m", "bench.cli.main", "sweep", "table2", "--seeds", "1",
        "--results", str(tmp_path), "--workers", "2",
    ]  # fmt: skip
    process = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
        # A background process of a shell starts with SIGINT ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    try:
        time.sleep(after)
        os.killpg(process.pid, signal.SIGINT)  # to all processes, as a terminal does
        errors = process.communicate(timeout=90)[1]
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert "Traceback" not in errors
    assert "stopped" in errors
    # A shell shows both as 130. Under -m, Python dies by SIGINT instead of exiting with 130 if
    # Ctrl-C arrives during an exec(), and importing torch calls exec() many times.
    assert process.returncode in (130, -signal.SIGINT)


def test_ctrl_c_while_a_worker_starts_leaves_no_untracked_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, started = make_plan([make_tiny_spec(), make_tiny_spec(seed=1)], tmp_path), []
    start_worker = Pool._start_worker

    def interrupt_meanwhile(pool: Pool, slot: int) -> Any:
        # Send SIGINT from another thread. Python still runs the handler in the main thread.
        sender = threading.Thread(target=os.kill, args=(os.getpid(), signal.SIGINT))
        sender.start()
        sender.join()
        started.append(start_worker(pool, slot))
        return started[-1]

    monkeypatch.setattr(Pool, "_start_worker", interrupt_meanwhile)
    before = signal.getsignal(signal.SIGINT)
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        pool = Pool(plan, tmp_path, 2, RecordingWatcher())
        assert pool.run().stopped
    finally:
        signal.signal(signal.SIGINT, before)
    assert pool._workers == started
    assert len(started) == 1
    assert not started[0].process.is_alive()


def test_a_second_ctrl_c_kills_a_run_that_hangs(tmp_path: Path) -> None:
    """The run does not reach the end of a step, where it would stop. No worker must survive."""
    hangs = tmp_path / "hangs.py"
    hangs.write_text(
        "import time\nfrom strategies.base import PerEpoch, Strategy\n\n"
        "class Hangs(Strategy):\n"
        "    name = 'hangs'\n"
        "    def stages(self):\n        return PerEpoch(1)\n"
        "    def decide(self, view):\n"
        "        open(__file__ + str(view.seed), 'w').close()\n        time.sleep(600)\n"
    )
    specs = [resolve(make_tiny_spec(f"{hangs}:Hangs", seed=seed), "laptop") for seed in (0, 1)]
    pool = Pool(make_plan(specs, tmp_path), tmp_path, 2, RecordingWatcher())

    def press() -> None:
        while not all(Path(f"{hangs}{seed}").exists() for seed in (0, 1)):
            time.sleep(0.1)
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(1)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    presser = threading.Thread(target=press)
    try:
        presser.start()
        with pytest.raises(KeyboardInterrupt):
            pool.run()
        for worker in pool._workers:
            worker.process.join(timeout=20)  # shorter than STOP_SECONDS
    finally:
        presser.join()
        signal.signal(signal.SIGINT, before)
    assert not any(worker.process.is_alive() for worker in pool._workers)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[forkserver.ForkServer]:
    """Replace the fork server by one that preloads nothing, which takes seconds."""
    own = forkserver.ForkServer()
    for name in ("ensure_running", "connect_to_new_process", "set_forkserver_preload"):
        monkeypatch.setattr(forkserver, name, getattr(own, name))
    monkeypatch.setattr(fork_server, "PRELOADED", [])
    yield own
    own._stop()


def test_a_worker_is_started_again_if_the_fork_server_dies_meanwhile(
    server: forkserver.ForkServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server dies after it was found alive and before it answers."""
    killed: list[int] = []

    def connect(descriptors: Any) -> Any:
        if len(killed) < 2:
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
    assert len({*killed, server._forkserver_pid}) == 3


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


def test_sigterm_stops_a_sweep_like_ctrl_c(tmp_path: Path) -> None:
    command = [
        sys.executable, "-m", "bench.cli.main", "sweep", "table2", "--seeds", "1",
        "--epochs", "300", "--results", str(tmp_path), "--workers", "2",
    ]  # fmt: skip
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
        start_new_session=True,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 120
        while not list(tmp_path.glob("runs/*/epochs.jsonl")) and time.monotonic() < deadline:
            time.sleep(0.1)
        os.killpg(process.pid, signal.SIGTERM)  # to all processes, as `timeout` does
        errors = process.communicate(timeout=90)[1]
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 130, errors
    assert "stopping after each run has written a checkpoint" in errors
    assert "leaked" not in errors
    assert "Traceback" not in errors
    assert list(tmp_path.glob("runs/*/checkpoint.pt"))
    assert not list(tmp_path.glob("runs/*/failure.json"))


def test_ctrl_c_leaves_a_checkpoint(tmp_path: Path) -> None:
    command = [
        sys.executable, "-m", "bench.cli.main", "run", "--model", "laptop_vgg11",
        "--data", "digits10",
        "--resolution", "24", "--epochs", "300", "--train-limit", "96", "--results", str(tmp_path),
    ]  # fmt: skip
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("runs/*/epochs.jsonl")) and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    errors = process.communicate(timeout=60)[1]
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    (checkpoint,) = tmp_path.glob("runs/*/checkpoint.pt")
    assert checkpoint.stat().st_size > 0


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
