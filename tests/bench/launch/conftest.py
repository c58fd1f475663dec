"""Fixtures of the tests that start processes."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from multiprocessing import forkserver
from typing import Any

import pytest

from bench.launch.processes import fork_server


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[forkserver.ForkServer]:
    """Replace the fork server by one that preloads nothing, because preloading takes seconds."""
    own = forkserver.ForkServer()
    for name in ("ensure_running", "connect_to_new_process", "set_forkserver_preload"):
        monkeypatch.setattr(forkserver, name, getattr(own, name))
    monkeypatch.setattr(fork_server, "PRELOADED", [])
    monkeypatch.setattr(fork_server, "_blocked", {signal.SIGINT})
    yield own
    own._stop()


@pytest.fixture
def dead_server(server: forkserver.ForkServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every start of a process fail as if the fork server had been killed."""

    def connect(descriptors: Any) -> Any:
        raise EOFError("unexpected EOF")

    monkeypatch.setattr(forkserver, "connect_to_new_process", connect)
    monkeypatch.setattr(fork_server, "RETRY_SECONDS", 0.0)
