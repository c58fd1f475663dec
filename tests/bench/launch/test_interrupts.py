"""Ctrl-C and SIGTERM: each run writes a checkpoint, and no process is left."""

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from bench.launch.pool import Pool
from bench.planning.plan import make_plan
from bench.planning.run_inputs import resolve_inputs
from tests.support.recording_watcher import RecordingWatcher
from tests.support.tiny_runs import make_tiny_spec


@pytest.mark.parametrize("after", [1.5, 4.5])
def test_an_early_ctrl_c_ends_the_launch_without_a_traceback(tmp_path: Path, after: float) -> None:
    """Press Ctrl-C while the fork server may still be importing torch, which takes seconds."""
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
    assert process.returncode == 130


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
    """Press Ctrl-C twice while runs hang before the end of a step, where they would stop.

    No worker must survive.
    """
    hangs = tmp_path / "hangs.py"
    hangs.write_text(
        "import time\nfrom strategies.base import PerEpoch, Strategy\n\n"
        "class Hangs(Strategy):\n"
        "    name = 'hangs'\n"
        "    def stages(self):\n        return PerEpoch(1)\n"
        "    def decide(self, view):\n"
        "        open(__file__ + str(view.seed), 'w').close()\n        time.sleep(600)\n"
    )
    specs = [
        resolve_inputs(make_tiny_spec(f"{hangs}:Hangs", seed=seed), "laptop") for seed in (0, 1)
    ]
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


def test_ctrl_c_with_the_last_message_of_a_run_loses_neither(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Send SIGINT with the last message.

    If this message were lost, the launcher would wait without end.
    """
    receive = Connection.recv

    def interrupt_result(pipe: Connection) -> Any:
        message = receive(pipe)
        if message[0] == "result":
            signal.raise_signal(signal.SIGINT)
        return message

    monkeypatch.setattr(Connection, "recv", interrupt_result)
    first, second = make_tiny_spec(), make_tiny_spec(seed=1)
    pool = Pool(make_plan([first, second], tmp_path), tmp_path, 1, RecordingWatcher())
    # If the message is lost, this ends the run as failed.
    rescue = threading.Timer(60, lambda: [worker.process.kill() for worker in pool._workers])
    rescue.start()
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        outcome = pool.run()
    finally:
        signal.signal(signal.SIGINT, before)
        rescue.cancel()
    assert outcome.stopped
    assert outcome.finished == [first]


def test_sigterm_stops_a_sweep_like_ctrl_c(tmp_path: Path) -> None:
    """Ignore SIGINT, as in the background processes of a shell script, and send SIGTERM."""
    command = [
        sys.executable, "-m", "bench.cli.main", "sweep", "table2", "--seeds", "1",
        "--epochs", "300", "--train-limit", "96", "--results", str(tmp_path), "--workers", "2",
    ]  # fmt: skip
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
        start_new_session=True, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
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
