"""Worker process of the pool."""

from __future__ import annotations

from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from bench.launch.attempt import run_and_report
from bench.launch.processes.fork_server import start_process
from bench.launch.processes.messages import ProgressSender, ignore_interrupts, send
from bench.spec import Spec


def start_worker(context: Any, slot: int, *arguments: Any) -> Worker:
    """Start a worker. Raises ProcessLost if the fork server is killed START_TRIES times.

    context: multiprocessing's forkserver context.
    slot: position of the worker in the pool.
    arguments: arguments of `run_worker` after `pipe`.
    """
    return Worker(slot, *start_process(context, run_worker, *arguments))


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
