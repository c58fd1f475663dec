"""Worker process of the pool, and the fork server that starts it."""

from __future__ import annotations

import multiprocessing.forkserver
import multiprocessing.resource_tracker
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from bench.launch.attempt import HEARTBEAT_SECONDS, run_and_report
from bench.spec import Spec

PRELOADED = ["bench.training.loop", "bench.results.wandb_mirror"]


def start_server(*signals: int) -> None:
    """Start the server that workers are forked from: it imports what they need and does no more.

    It is deaf to Ctrl-C and to `signals`, and so are they: what is meant for the launcher would
    end them. A server that runs already stays.
    """
    deaf = (signal.SIGINT, *signals)
    with _blocked(deaf):
        multiprocessing.resource_tracker.ensure_running()
    with _blocked(deaf):  # anew, for the tracker's start lets some of them through
        multiprocessing.forkserver.set_forkserver_preload(PRELOADED)
        multiprocessing.forkserver.ensure_running()


@contextmanager
def _blocked(signals: Sequence[int]) -> Iterator[None]:
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)


@dataclass
class _Worker:
    slot: int
    process: Any
    pipe: Connection
    spec: Spec | None = None


def _work(pipe: Connection, stopping: Any, gpu: int | None) -> None:
    """A worker's life: receive a run, execute it, say how it went; end when the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which tells us
    if gpu is not None:
        import torch

        if torch.cuda.is_available():
            torch.cuda.set_device(gpu % torch.cuda.device_count())
    teller = _Teller(pipe)

    def stop() -> bool:
        # A parent that was killed cannot tell us to stop: nobody listens any more.
        return bool(stopping.is_set()) or teller.alone

    while True:
        try:
            values, results = pipe.recv()
        except (EOFError, OSError):
            return
        spec = Spec.from_dict(values)
        message = run_and_report(spec, Path(results), stop, teller)
        try:
            pipe.send(message)
        except OSError:
            return


class _Teller:
    """Tells of progress down a pipe, at most once a heartbeat; notices when nobody listens."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe, self._last, self.alone = pipe, 0.0, False

    def __call__(self, step: int, steps: int) -> None:
        now = time.monotonic()
        if now - self._last >= HEARTBEAT_SECONDS:
            self._last = now
            try:
                self._pipe.send(("step", (step, steps)))
            except OSError:
                self.alone = True
