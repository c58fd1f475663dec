"""`make cuda` stops at its time limits, keeps finished results and lists what is missing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import venv
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import distribution
from pathlib import Path

import pytest

from tests.cuda import run
from tests.cuda.bundle import ALWAYS, find_missing
from tests.cuda.run import Check, check_laws, make_environment, train_on_images
from tests.support.outcomes import read_outcomes
from tests.support.paths import ROOT

LIMIT = 14.0  # seconds, enough for pytest to start on a busy machine
SLOW = """
import time

def test_passes(request): assert hasattr(request.config, "workerinput") == WORKERS
def test_fails(): assert False
def test_never_ends(): time.sleep(600)
def test_is_not_reached(): pass
"""


@pytest.fixture
def check(tmp_path: Path) -> Check:
    place = tmp_path / "place"
    place.mkdir()
    return Check(tmp_path, "cpu", tmp_path / "no bundle", place, make_environment())


def link_packages(folder: Path, *names: str) -> None:
    """Make installed packages importable from a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for package in map(distribution, names):
        for top in {file.parts[0] for file in package.files or ()} - {"..", "__pycache__"}:
            (folder / top).symlink_to(str(package.locate_file(top)))


def make_python(folder: Path) -> Path:
    """Create an environment that has pytest but lacks pytest-xdist. Return its interpreter."""
    venv.create(folder, symlinks=True)
    (site,) = folder.glob("lib/python*/site-packages")
    link_packages(site, "pytest", "pluggy", "iniconfig", "packaging", "pygments")
    return folder / "bin" / "python"


@pytest.mark.parametrize("workers", [True, False])
def test_tests_stopped_by_the_time_limit_are_listed(
    workers: bool, check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Check that tests run in parallel if, and only if, the bundle has pytest-xdist."""
    laws = check.out / "test_slow.py"
    laws.write_text(SLOW.replace("WORKERS", str(workers)))
    monkeypatch.setattr(sys, "executable", str(make_python(check.place / "python")))
    if workers:
        bundled = check.place / "packages"
        link_packages(bundled, "pytest-xdist", "execnet")
        path = f"{bundled}:{check.environment['PYTHONPATH']}"
        check.environment = {**check.environment, "PYTHONPATH": path}
    monkeypatch.setattr(run, "LAWS", (str(laws), "-c", "/dev/null", "--rootdir", str(check.out)))
    monkeypatch.setattr(run, "PATIENCE", 1.0)
    began = time.monotonic()
    assert not check_laws(check, began + LIMIT)
    assert time.monotonic() - began < LIMIT + 20
    outcomes = {
        t.rpartition("::")[2]: o for t, o in read_outcomes(check.place / "outcomes.txt").items()
    }
    assert outcomes["test_passes"] == "passed"
    assert outcomes["test_fails"] == "failed"
    assert outcomes["test_never_ends"] == "not run"
    assert len(outcomes) == 4
    assert "1 failed" in check.lines[0]
    assert "test_fails" in (check.out / "laws.txt").read_text()
    assert "test_never_ends,not run" in (check.out / "laws.csv").read_text()


def test_a_command_that_ignores_sigint_is_killed_after_its_deadline(check: Check) -> None:
    script = "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); time.sleep(600)"
    patience, run.PATIENCE = run.PATIENCE, 0.5
    try:
        assert check.run([sys.executable, "-c", script], time.monotonic() + 1) is None
    finally:
        run.PATIENCE = patience
    assert check.run([sys.executable, "-c", "raise SystemExit(3)"], time.monotonic() + 60) == 3


def call_main(
    monkeypatch: pytest.MonkeyPatch, out: Path, *parts: Callable[[Check, float], bool]
) -> int:
    """Call main with other functions in place of its three parts."""
    for name, part in zip(("check_laws", "measure_costs", "train_on_images"), parts, strict=True):
        monkeypatch.setattr(run, name, part)
    argv = ["run.py", str(out), "--device", "cpu", "--bundle", str(out / "no bundle")]
    monkeypatch.setattr(sys, "argv", argv)
    monkeypatch.setattr(signal, "signal", lambda number, handler: None)  # only in this process
    return run.main()


def succeed(check: Check, until: float) -> bool:
    """Stand for a part that succeeds."""
    check.say("succeeded")
    return True


def test_files_of_an_earlier_call_are_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Delete earlier files. If a part wrote no file, an earlier one would describe another call."""
    for name in ("laws.txt", "runs.csv", "environment.json", "summary.txt", "notes.txt"):
        (tmp_path / name).write_text("of an earlier call")
    assert call_main(monkeypatch, tmp_path, succeed, succeed, succeed) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"summary.txt", "notes.txt"}
    assert "earlier" not in (tmp_path / "summary.txt").read_text()


def test_an_error_in_one_part_is_one_line_and_the_others_are_executed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(check: Check, until: float) -> bool:
        raise FileNotFoundError("no environment.json\nhere")

    assert call_main(monkeypatch, tmp_path, succeed, fail, succeed) == 1
    lines = (tmp_path / "summary.txt").read_text().splitlines()
    assert lines.count("succeeded") == 2
    assert "fail: FileNotFoundError: no environment.json here" in lines


INTERRUPTED = """
import sys
from tests.cuda import run

def succeed(check, until):
    check.say("succeeded")
    return True

def wait(check, until):
    child = "import os, pathlib, signal, sys, time; signal.signal(signal.SIGINT, signal.SIG_IGN)\\n"
    child += "pathlib.Path(sys.argv[1]).write_text(f'{os.getpid()}.'); time.sleep(600)"
    check.run([sys.executable, "-c", child, str(check.out / "pid")], until)

run.check_laws, run.measure_costs, run.train_on_images = succeed, wait, succeed
sys.exit(run.main())
"""


def _restore_signals() -> None:
    """Handle SIGINT and SIGHUP by default again.

    A shell ignores SIGINT in a background process, and nohup ignores SIGHUP in any process.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupt_leaves_no_process_and_keeps_the_finished_parts(
    number: signal.Signals, tmp_path: Path
) -> None:
    command = [sys.executable, "-c", INTERRUPTED, str(tmp_path), "--bundle", str(tmp_path / "none")]
    process = subprocess.Popen(
        command, cwd=run.ROOT,
        preexec_fn=_restore_signals,
    )  # fmt: skip
    written, until = tmp_path / "pid", time.monotonic() + 60
    while not (written.exists() and written.read_text().endswith(".")):
        assert time.monotonic() < until
        time.sleep(0.05)
    child = int(written.read_text().rstrip("."))
    process.send_signal(number)
    try:
        assert process.wait(30) == 130
        with pytest.raises(ProcessLookupError):
            os.kill(child, 0)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
    summary = (tmp_path / "summary.txt").read_text()
    assert summary.count("succeeded") == 1
    assert "wait: interrupted" in summary


def test_missing_images_skip_all_runs(check: Check) -> None:
    assert not train_on_images(check, time.monotonic() + 60)
    assert "all skipped" in check.lines[0]
    assert "make cuda-bundle" in check.lines[0]


def test_packages_of_the_callers_pythonpath_stay_importable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keep PYTHONPATH, through which `module load` provides torch on clusters."""
    loaded = tmp_path / "loaded"
    loaded.mkdir()
    (loaded / "only_loaded.py").write_text("")
    monkeypatch.setenv("PYTHONPATH", str(loaded))
    command = [sys.executable, "-c", "import only_loaded, tests.cuda.run"]
    subprocess.run(command, env=make_environment(), cwd=tmp_path, check=True)
    monkeypatch.delenv("PYTHONPATH")
    assert make_environment()["PYTHONPATH"] == str(run.ROOT)


def test_without_pip_the_parts_run_without_the_wheels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = tmp_path / "no bundle"
    (bundle / "wheels").mkdir(parents=True)
    (bundle / "wheels" / "small-1.0-py3-none-any.whl").touch()
    monkeypatch.setattr(sys, "executable", str(make_python(tmp_path / "python")))
    assert call_main(monkeypatch, tmp_path, succeed, succeed, succeed) == 0
    (line,) = (x for x in (tmp_path / "summary.txt").read_text().splitlines() if "pip" in x)
    assert line.startswith("wheels: not installed")
    assert line.endswith("No module named pip")


def test_a_bundle_contains_the_packages_that_a_gpu_machine_lacks() -> None:
    missing = find_missing()
    assert {"fvcore", "submitit", *ALWAYS} <= set(missing)
    assert not {"torch", "numpy", "timm", "transformers", "wandb", "pyarrow"} & set(missing)
    assert find_missing((*missing, "torch", "pytest"))  # numpy, at least


def test_the_command_prints_help() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.cuda.run", "--help"], capture_output=True, text=True,
        check=True, cwd=run.ROOT,
    )  # fmt: skip
    assert "--bundle" in done.stdout


@pytest.mark.parametrize("minutes", ["3,3", "3,3,x", "3,3,0", "3,3,inf", ""])
def test_wrong_time_limits_are_one_line(minutes: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.cuda.run", str(tmp_path / "out"), "--minutes", minutes]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 2
    last = done.stderr.splitlines()[-1]
    assert "three numbers above 0, such as 3,3,2" in last
    assert not (tmp_path / "out").exists()
