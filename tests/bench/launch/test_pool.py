"""Many runs in worker processes: order, failures, kills, Ctrl-C, two launchers at once."""

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from bench.errors import UserError
from bench.files import read_json
from bench.launch.capacity import count_workers
from bench.launch.pool import Pool
from bench.planning.plan import make_plan
from bench.planning.run_inputs import resolve
from bench.results.run_folder import RunFolder
from bench.results.run_status import read_status
from bench.spec import Spec
from tests.support.paths import ROOT
from tests.support.tiny_runs import execute_run, load_essence, make_tiny_spec


class Notes:
    """A watcher that remembers, and may act on what it hears."""

    def __init__(self, act: Any = None) -> None:
        self.heard: list[tuple[str, str]] = []
        self._act = act

    def _note(self, what: str, spec: Spec) -> None:
        self.heard.append((what, spec.id))
        if self._act:
            self._act(what, spec)

    def started(self, spec: Spec) -> None:
        self._note("started", spec)

    def stepped(self, spec: Spec, step: int, steps: int) -> None:
        self._note("stepped", spec)

    def finished(self, spec: Spec, result: dict[str, Any]) -> None:
        self._note("finished", spec)

    def failed(self, spec: Spec, reason: str) -> None:
        self._note("failed", spec)


def test_runs_come_after_those_they_need_and_equal_runs_made_alone(tmp_path: Path) -> None:
    backbone = make_tiny_spec(data="glyphs:few", keep_model=True)
    cell = [make_tiny_spec("autofreeze", seed=s, weights=f"run:{backbone.id}") for s in (0, 1)]
    matched = make_tiny_spec("shortened", options={}, match=tuple(s.id for s in cell))
    notes = Notes()
    outcome = Pool(make_plan([matched, *cell, backbone], tmp_path), tmp_path, 2, notes).run()
    assert len(outcome.finished) == 4
    assert not outcome.failed
    moments = {heard: i for i, heard in enumerate(notes.heard)}
    for spec in cell:
        assert moments["finished", backbone.id] < moments["started", spec.id]
        assert moments["finished", spec.id] < moments["started", matched.id]
    execute_run(backbone, tmp_path / "alone")
    execute_run(cell[0], tmp_path / "alone")
    assert load_essence(cell[0], tmp_path) == load_essence(cell[0], tmp_path / "alone")
    # Done is done: a second launch has nothing to do.
    assert make_plan([matched, *cell, backbone], tmp_path).todo == []


def test_a_killed_worker_fails_its_run_alone_and_the_next_launch_makes_it(tmp_path: Path) -> None:
    slow = make_tiny_spec(epochs=200)
    others = [make_tiny_spec(seed=s) for s in (1, 2)]
    heir = make_tiny_spec(weights=f"run:{slow.id}")

    def kill(what: str, spec: Spec) -> None:
        if what == "stepped" and spec.id == slow.id:
            pid = next(w.process.pid for w in pool._workers if w.spec and w.spec.id == slow.id)
            os.kill(pid, signal.SIGKILL)

    plan = make_plan([slow, heir, *others], tmp_path)
    pool = Pool(plan, tmp_path, 2, Notes(kill))
    outcome = pool.run()
    assert set(outcome.failed) == {slow.id}
    assert "exit code -9" in outcome.failed[slow.id]
    assert [s.id for s in outcome.blocked] == [heir.id]
    assert {s.id for s in outcome.finished} == {s.id for s in others}
    folder = RunFolder(tmp_path, slow.id)
    assert read_status(slow, tmp_path).state == "failed"
    assert "exit code" in read_json(folder.path / "failure.json")["reason"]
    assert {s.id for s in make_plan([slow, *others], tmp_path).todo} == {slow.id}


def test_a_worker_killed_while_idle_is_replaced(tmp_path: Path) -> None:
    first, second = make_tiny_spec(keep_model=True), make_tiny_spec(seed=1)
    heir, other = (
        s.with_changes(weights=f"run:{first.id}")
        for s in (make_tiny_spec(seed=2), make_tiny_spec(seed=3))
    )

    def kill(what: str, spec: Spec) -> None:
        if what == "finished" and spec.id == first.id:
            for worker in pool._workers:
                if worker.spec is None:
                    os.kill(worker.process.pid, signal.SIGKILL)
                    worker.process.join()

    plan = make_plan([first, second, heir, other], tmp_path)
    pool = Pool(plan, tmp_path, 2, Notes(kill))
    outcome = pool.run()
    assert outcome.failed == {}
    assert {s.id for s in outcome.finished} == {s.id for s in plan.specs}


@pytest.mark.parametrize("after", [1.5, 3.0, 4.5])
def test_ctrl_c_at_once_is_one_word(tmp_path: Path, after: float) -> None:
    """Also while the workers' server imports what they need, which takes seconds."""
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
        # What runs in the background of a shell is born deaf to it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    try:
        time.sleep(after)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all processes
        errors = process.communicate(timeout=90)[1]
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert "Traceback" not in errors
    assert "stopped" in errors
    # One and the same to a shell: Python turns the first into the second under -m if Ctrl-C fell
    # into an exec, of which importing torch has many.
    assert process.returncode in (130, -signal.SIGINT)


def test_ctrl_c_while_a_worker_is_hired_leaves_none_that_nobody_knows_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, hired = make_plan([make_tiny_spec(), make_tiny_spec(seed=1)], tmp_path), []
    hire = Pool._start_worker

    def pressed_meanwhile(pool: Pool, slot: int) -> Any:
        # To another thread, as the system may: Python hands it to the main one all the same.
        sender = threading.Thread(target=os.kill, args=(os.getpid(), signal.SIGINT))
        sender.start()
        sender.join()
        hired.append(hire(pool, slot))
        return hired[-1]

    monkeypatch.setattr(Pool, "_start_worker", pressed_meanwhile)
    before = signal.getsignal(signal.SIGINT)
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        pool = Pool(plan, tmp_path, 2, Notes())
        assert pool.run().stopped
    finally:
        signal.signal(signal.SIGINT, before)
    assert pool._workers == hired
    assert len(hired) == 1
    assert not hired[0].process.is_alive()


def test_a_run_that_hangs_is_ended_by_a_second_ctrl_c(tmp_path: Path) -> None:
    """It reaches no step border, where it would stop; nobody is left behind who holds it."""
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
    pool = Pool(make_plan(specs, tmp_path), tmp_path, 2, Notes())

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
            worker.process.join(timeout=20)  # which a patient end would exceed
    finally:
        presser.join()
        signal.signal(signal.SIGINT, before)
    assert not any(worker.process.is_alive() for worker in pool._workers)


def test_two_runs_never_share_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    alone, pair = make_tiny_spec(device="cuda"), make_tiny_spec(device="cuda", replicas=2)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 4)
    assert [count_workers([alone], asked) for asked in (0, 3, 4)] == [4, 3, 4]
    assert count_workers([alone, pair]) == 2
    with pytest.raises(UserError, match=r"--workers 3: .* hold 2 at a time; give 2 at most"):
        count_workers([alone, pair], 3)
    assert count_workers([make_tiny_spec()], 3) == 3  # of cores several may be given on purpose
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    assert count_workers([alone], 3) == 3  # what is wrong there is not their number


def test_a_failing_run_is_recorded_with_its_traceback(tmp_path: Path) -> None:
    bad, good = make_tiny_spec(weights="run:feedfeedfeed"), make_tiny_spec()
    with pytest.raises(UserError, match="feedfeedfeed"):
        make_plan([bad, good], tmp_path)
    broken = RunFolder(tmp_path, "feedfeedfeed")  # done, but its weights are gone
    broken.create()
    broken.write("result.json", {"status": "done"})
    outcome = Pool(make_plan([bad, good], tmp_path), tmp_path, 1, Notes()).run()
    assert list(outcome.failed) == [bad.id]
    assert [s.id for s in outcome.finished] == [good.id]
    assert "Traceback" in (RunFolder(tmp_path, bad.id).path / "traceback.txt").read_text()


def test_two_holders_of_one_run(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, "abc")
    with folder.hold_lock() as first, RunFolder(tmp_path, "abc").hold_lock() as second:
        assert first
        assert not second
    with folder.hold_lock() as again:
        assert again


def test_ctrl_c_leaves_a_checkpoint_and_the_next_call_goes_on(tmp_path: Path) -> None:
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


def test_two_launchers_at_once_run_nothing_twice(tmp_path: Path) -> None:
    specs = [make_tiny_spec(seed=s) for s in range(3)]
    notes = [Notes(), Notes()]
    pools = [Pool(make_plan(specs, tmp_path), tmp_path, 1, n) for n in notes]
    threads = [threading.Thread(target=pool.run) for pool in pools]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stamps = [read_json(RunFolder(tmp_path, s.id).path / "result.json")["clocks"] for s in specs]
    assert len(stamps) == 3
    for note in notes:  # both hear of every result, whoever made it
        assert {i for what, i in note.heard if what == "finished"} == {s.id for s in specs}


def test_when_the_launcher_dies_its_runs_write_a_checkpoint_and_are_not_failed(
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
