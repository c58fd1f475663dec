"""Locks that end with their process, paths in an unknown home, and folders."""

from __future__ import annotations

import errno
import fcntl
import os
import pwd
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.errors import UserError
from bench.files import expand_home, hold_lock, make_folder, make_results_folder
from tests.support.paths import ROOT

HOLDS = """
import sys, time
from pathlib import Path
from bench.files import hold_lock
with hold_lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_lock_excludes_other_processes_until_its_process_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(path)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with hold_lock(path, seconds=0) as ours:
            assert not ours
        began = time.monotonic()
        with hold_lock(path, seconds=0.5) as ours:
            assert not ours
        assert time.monotonic() - began >= 0.5
        os.kill(holder.pid, signal.SIGKILL)
        with hold_lock(path, seconds=30) as ours:
            assert ours
    finally:
        holder.kill()
        holder.wait()


def test_a_lock_excludes_its_own_process_and_is_released_after_an_error(
    tmp_path: Path,
) -> None:
    path = tmp_path / "lock"

    def fail() -> None:
        with hold_lock(path), hold_lock(path, seconds=0) as again:
            assert not again
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with hold_lock(path, seconds=0) as ours:
        assert ours


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_raises_a_user_error(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    with (
        pytest.raises(UserError, match=r"has no locks.*mount it with locks") as caught,
        hold_lock(tmp_path / "lock"),
    ):
        pass
    assert "\n" not in str(caught.value)


def test_an_unknown_home_directory_is_a_one_line_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Simulate a user without an entry in /etc/passwd, as in a container."""
    monkeypatch.setenv("HOME", "/home/me")
    assert expand_home("~/data") == Path("/home/me/data")
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", lambda number: {}[number])
    with pytest.raises(UserError, match="~/data: the home directory is unknown; set HOME"):
        expand_home("~/data")
    assert expand_home("data") == Path("data")


@pytest.mark.parametrize("make", [make_folder, make_results_folder])
def test_a_folder_that_cannot_be_created_is_one_line(make: Callable[[Path], None]) -> None:
    with pytest.raises(UserError, match=r"/proc/none/x cannot be created \(.*\); ") as error:
        make(Path("/proc/none/x"))
    assert "\n" not in str(error.value)
