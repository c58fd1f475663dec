"""Worker process of the pool, and the fork server that starts it."""

from __future__ import annotations

import multiprocessing.forkserver
import multiprocessing.resource_tracker
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from bench.launch.attempt import run_and_report
from bench.launch.messages import PRELOADED, ProgressSender, ignore_interrupts, send
from bench.spec import Spec


def start_server(*signals: int) -> None:
    """Start the server that workers are forked from: it imports what they need and does no more.

    It is deaf to Ctrl-C and to `signals`, and so are they: what is meant for the launcher would
    end them. A server that runs already stays.
    """
    deaf = (signal.SIGINT, *signals)
    with _block_signals(deaf):
        multiprocessing.resource_tracker.ensure_running()
    with _block_signals(deaf):  # anew, for the tracker's start lets some of them through
        multiprocessing.forkserver.set_forkserver_preload(PRELOADED)
        multiprocessing.forkserver.ensure_running()


@contextmanager
def _block_signals(signals: Sequence[int]) -> Iterator[None]:
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)


@dataclass
class Worker:
    """A worker process, our end of its pipe, and the run it executes; None while it waits."""

    slot: int
    process: Any
    pipe: Connection
    spec: Spec | None = None


def run_worker(pipe: Connection, stopping: Any, gpu: int | None) -> None:
    """A worker's life: receive a run, execute it, say how it went; end when the pipe closes."""
    ignore_interrupts()
    if gpu is not None:
        import torch

        if torch.cuda.is_available():
            torch.cuda.set_device(gpu % torch.cuda.device_count())
    progress = ProgressSender(pipe)

    def stop() -> bool:
        # A parent that was killed cannot tell us to stop: nobody listens any more.
        return bool(stopping.is_set()) or progress.alone

    while True:
        try:
            values, results = pipe.recv()
        except (EOFError, OSError):
            return
        spec = Spec.from_dict(values)
        if not send(pipe, run_and_report(spec, Path(results), stop, progress)):
            return
