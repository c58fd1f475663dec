"""Pool of local worker processes, each of which executes one run at a time."""

from __future__ import annotations

import multiprocessing.forkserver
import multiprocessing.resource_tracker
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import wait
from pathlib import Path
from types import FrameType
from typing import Any

from bench.errors import ProcessLost
from bench.launch.attempt import HEARTBEAT_SECONDS, record_killed
from bench.launch.capacity import count_gpus, uses_gpus
from bench.launch.outcome import Outcome, Watcher
from bench.launch.processes.fork_server import AGAIN, START_TRIES, start_server
from bench.launch.worker import Worker, start_worker
from bench.planning.plan import Plan
from bench.results.run_folder import RunFolder
from bench.results.run_status import is_running
from bench.spec import Spec

STOP_SECONDS = 60.0  # time to write the checkpoint of a large model


class Pool:
    """Pool that executes a plan. A run starts when all runs that it needs are done.

    A failed run blocks only the runs that depend on it.
    """

    def __init__(
        self,
        plan: Plan,
        results: Path,
        workers: int,
        watcher: Watcher,
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        """Store the plan and the settings of the pool.

        stop: called about once a second. If it returns True, the effect is that of Ctrl-C.
        """
        self._results, self._watcher, self._asked = results, watcher, stop
        self._waiting = list(plan.todo)
        self._done = set(plan.done)
        self._planned = {s.id for s in plan.specs}
        self._outcome = Outcome()
        self._context = multiprocessing.get_context("forkserver")
        self._stop = self._context.Event()
        self._count = min(workers, len(self._waiting))
        # Number of GPUs of each worker; 0 if the runs use none.
        self._gpus = count_gpus(plan.todo) if uses_gpus(plan.todo) else 0
        self._workers: list[Worker] = []
        self._insisted = False

    def run(self) -> Outcome:
        """Execute runs until no more can start. On Ctrl-C, let each run write a checkpoint."""
        try:
            start_server(signal.SIGTERM)
            for slot in range(self._count):
                with _defer_interrupt():  # Ctrl-C could leave a process missing from _workers
                    self._workers.append(self._start_worker(slot))
            while not self._asked() and (self._assign() or self._has_busy_workers()):
                self._wait_for_messages()
            if self._asked():
                self._stop_runs()
        except KeyboardInterrupt:
            print(
                "stopping after each run has written a checkpoint; Ctrl-C again kills the runs",
                file=sys.stderr,
            )
            self._insisted = True  # stays True if a second Ctrl-C interrupts _stop_runs
            self._stop_runs()
            self._insisted = False
        finally:
            self._stop_workers()
        self._outcome.blocked = [] if self._outcome.stopped else self._waiting
        return self._outcome

    def _has_busy_workers(self) -> bool:
        return any(w.spec for w in self._workers)

    def _stop_runs(self) -> None:
        """Wait until each running run has written a checkpoint or finished. Start no other run."""
        self._outcome.stopped = True
        self._stop.set()
        while self._has_busy_workers():
            self._wait_for_messages()

    def _assign(self) -> bool:
        """Give each idle worker a run that can start. Return whether any worker got a run."""
        given = False
        for worker in self._workers:
            if worker.spec is not None:
                continue
            ready = self._choose()
            if ready is None:
                break
            self._waiting.remove(ready)
            self._give(worker, ready)
            self._watcher.started(ready)
            given = True
        return given

    def _choose(self) -> Spec | None:
        """Return the first run that can start, or None if no run can.

        Runs that another launcher executes come last, because a worker would wait until they end.
        """
        busy = None
        for spec in filter(self._can_start, self._waiting):
            if not is_running(RunFolder(self._results, spec.id)):
                return spec
            busy = busy or spec
        return busy

    def _give(self, worker: Worker, spec: Spec) -> None:
        """Send a run to an idle worker. If that worker was killed, replace it first."""
        for attempt in range(1, START_TRIES + 1):
            try:
                worker.pipe.send((spec.to_dict(), str(self._results)))
                break
            except OSError as error:
                if attempt == START_TRIES:
                    raise ProcessLost(
                        f"idle worker processes were killed {START_TRIES} times; {AGAIN}"
                    ) from error
                worker = self._replace_worker(worker)
        worker.spec = spec

    def _can_start(self, spec: Spec) -> bool:
        # A needed run that is not in the plan is done: make_plan checks that.
        return all(n in self._done or n not in self._planned for n in spec.needs)

    def _wait_for_messages(self) -> None:
        busy = [w for w in self._workers if w.spec]
        sources: list[Any] = [source for w in busy for source in (w.pipe, w.process.sentinel)]
        ready = wait(sources, timeout=HEARTBEAT_SECONDS)
        for worker in busy:
            if worker.pipe in ready or worker.process.sentinel in ready:
                with _defer_interrupt():  # Ctrl-C could lose the last message of a run
                    self._handle_message(worker)

    def _handle_message(self, worker: Worker) -> None:
        if worker.spec is None:
            return
        spec = worker.spec
        message: tuple[Any, Any] = ("", None)
        with suppress(EOFError, OSError):  # the pipe is closed if the process died
            if worker.pipe.poll():
                message = worker.pipe.recv()
        kind, value = message
        if kind == "step":
            self._watcher.stepped(spec, *value)
            return
        if not kind:
            if worker.process.is_alive():
                return
            worker.process.join()
            kind, value = "failed", f"its process ended with exit code {worker.process.exitcode}"
            record_killed(spec, RunFolder(self._results, spec.id), value)
            self._replace_worker(worker)
        worker.spec = None
        self._outcome.record(spec, kind, value, self._watcher)
        if kind in ("result", "found"):
            self._done.add(spec.id)

    def _start_worker(self, slot: int) -> Worker:
        return start_worker(
            self._context, slot, self._stop, slot * self._gpus if self._gpus else None
        )

    def _replace_worker(self, worker: Worker) -> Worker:
        """Start a worker in the slot of a worker that died, and return the new worker."""
        with _defer_interrupt():
            fresh = self._start_worker(worker.slot)
            self._workers[self._workers.index(worker)] = fresh
        worker.pipe.close()
        return fresh

    def _stop_workers(self) -> None:
        self._stop.set()  # running runs write a checkpoint, whatever ended run()
        for worker in self._workers:
            worker.pipe.close()
        until = time.monotonic() + (0.0 if self._insisted else STOP_SECONDS)
        try:
            for worker in self._workers:
                worker.process.join(timeout=max(0.0, until - time.monotonic()))
        finally:  # kill the rest, because a living worker would keep the lock of its run
            for worker in self._workers:
                if worker.process.is_alive():
                    worker.process.kill()


@contextmanager
def _defer_interrupt() -> Iterator[None]:
    """Defer SIGINT to the end of the block. If SIGINT arrived, raise KeyboardInterrupt there.

    SIGTERM has the same effect in a local launch, where its handler calls the handler of SIGINT.
    Blocking the signals in the main thread is not enough. A thread of torch would receive them, and
    Python would still run the handler in the main thread.
    """
    if threading.current_thread() is not threading.main_thread():  # Python raises it there
        yield
        return
    pressed = threading.Event()
    ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN

    def note(number: int, frame: FrameType | None) -> None:
        if number != signal.SIGINT or not ignored:  # SIGTERM comes here too
            pressed.set()

    before = signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if pressed.is_set():
        raise KeyboardInterrupt
