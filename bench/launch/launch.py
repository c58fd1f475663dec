"""Entry point of local launches: execute all runs of a list that are not done."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from bench.errors import UserError
from bench.files import make_results_folder
from bench.launch.attempt import read_checkpoint_seconds
from bench.launch.capacity import count_workers
from bench.launch.in_process import run_in_process
from bench.launch.outcome import Outcome
from bench.launch.pool import Pool
from bench.launch.progress import Progress
from bench.planning.estimates import DurationEstimator
from bench.planning.plan import make_plan
from bench.results.wandb_mirror import is_mirror_enabled
from bench.spec import Spec


def launch(specs: Sequence[Spec], results: Path, workers: int = 0) -> Outcome:
    """Execute all runs that are not done: a single run in this process, several in workers.

    workers: number of worker processes; 0 = as many as fit. Raises UserError if runs would share a
    GPU.
    """
    # Invalid environment variables are errors now, not in each run.
    is_mirror_enabled()
    read_checkpoint_seconds(0)
    plan = make_plan(specs, results)
    if not plan.todo:
        return Outcome()
    make_results_folder(results)
    count = count_workers(plan.todo, workers)
    # Workers inherit these variables before they import torch. More threads than cores would slow
    # down every worker.
    threads = max(s.threads for s in plan.todo)
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, str(threads))
    progress = Progress(plan, DurationEstimator(plan, results), count)
    try:
        with _stop_on_terminate():
            if len(plan.todo) == 1:
                return run_in_process(plan, results, progress)
            return Pool(plan, results, count, progress).run()
    finally:
        progress.close()
        progress.sum_up()


def launch_all(specs: Sequence[Spec], results: Path, workers: int = 0) -> None:
    """Execute all runs that are not done, and raise an error if one of them fails.

    Raises KeyboardInterrupt if the launch was stopped, and UserError if a run failed.
    """
    outcome = launch(specs, results, workers)
    if outcome.stopped:
        raise KeyboardInterrupt
    if failed := len(outcome.failed):
        raise UserError(
            f"{failed} run{'s' * (failed > 1)} failed, see above; correct the cause and run the "
            "same command again (finished runs are kept)"
        )


@contextmanager
def _stop_on_terminate() -> Iterator[None]:
    """Let SIGTERM have the effect of Ctrl-C: runs write checkpoints, and processes end."""
    if threading.current_thread() is not threading.main_thread():  # only it may set handlers
        yield
        return
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Call the handler of SIGINT. Raise KeyboardInterrupt if there is none.

    A process that a shell script starts in the background has no handler, because it ignores
    SIGINT.
    """
    handler = signal.getsignal(signal.SIGINT)
    if not callable(handler):
        raise KeyboardInterrupt
    handler(number, frame)
