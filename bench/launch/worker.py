"""Worker process of the pool, and the fork server that starts it."""

from __future__ import annotations

import multiprocessing.forkserver
import multiprocessing.resource_tracker
import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from bench.launch.attempt import run_and_report
from bench.launch.messages import PRELOADED, ProgressSender, ignore_interrupts, send
from bench.spec import Spec

START_TRIES = 3  # per process, because someone may kill the fork server again
RETRY_SECONDS = 0.2
_blocked: set[int] = {signal.SIGINT}  # signals that the fork server and its workers block


def start_server(*signals: int) -> None:
    """Start the fork server, which imports PRELOADED once for all workers.

    The fork server and its workers block SIGINT and `signals`, which are meant for the launcher
    only. The launcher tells workers to stop. A fork server that is already running is kept. If it
    was killed, a new one is started, which blocks the signals of all earlier calls.
    """
    _blocked.update(signals)
    with _block_signals(_blocked):
        multiprocessing.resource_tracker.ensure_running()
    with _block_signals(_blocked):  # again, because ensure_running() unblocks SIGINT and SIGTERM
        multiprocessing.forkserver.set_forkserver_preload(PRELOADED)
        multiprocessing.forkserver.ensure_running()


def start_worker(context: Any, slot: int, *arguments: Any) -> Worker:
    """Start a worker through the fork server, again if the server is killed meanwhile.

    context: multiprocessing's forkserver context. arguments: those of `run_worker` after the pipe.
    Raises OSError or EOFError if that fails START_TRIES times.
    """
    attempt = 1
    while True:
        start_server()
        ours, theirs = context.Pipe()
        process = context.Process(target=run_worker, args=(theirs, *arguments))
        try:
            process.start()
            return Worker(slot, process, ours)
        except (EOFError, OSError):  # the server has died, perhaps after starting the process
            ours.close()  # ends that process
            if attempt == START_TRIES:
                raise
            attempt += 1
            time.sleep(RETRY_SECONDS)  # until the system reports the death of the server
        finally:
            theirs.close()


@contextmanager
def _block_signals(signals: Iterable[int]) -> Iterator[None]:
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)


@dataclass
class Worker:
    """Worker process, the launcher's end of its pipe, and its current run (None while idle)."""

    slot: int
    process: Any
    pipe: Connection
    spec: Spec | None = None


def run_worker(pipe: Connection, stopping: Any, gpu: int | None) -> None:
    """Receive runs from the pipe, execute each and report its result, until the pipe is closed."""
    ignore_interrupts()
    if gpu is not None:
        import torch

        if torch.cuda.is_available():
            torch.cuda.set_device(gpu % torch.cuda.device_count())
    progress = ProgressSender(pipe)

    def stop() -> bool:
        # A killed launcher cannot set `stopping`; sending progress to it fails instead.
        return bool(stopping.is_set()) or progress.alone

    while True:
        try:
            values, results = pipe.recv()
        except (EOFError, OSError):
            return
        spec = Spec.from_dict(values)
        if not send(pipe, run_and_report(spec, Path(results), stop, progress)):
            return
