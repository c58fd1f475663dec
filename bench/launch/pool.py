"""Runs in local worker processes: one a core or a GPU, each with one run at a time."""

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
from typing import Any

from bench.launch.attempt import HEARTBEAT_SECONDS, record_killed
from bench.launch.capacity import count_gpus, uses_gpus
from bench.launch.outcome import Outcome, Watcher
from bench.launch.worker import Worker, run_worker, start_server
from bench.planning.plan import Plan
from bench.results.run_folder import RunFolder
from bench.spec import Spec

STOP_SECONDS = 60.0  # for a checkpoint of a large model


class Pool:
    """Runs a plan: a run starts when those it needs are done; a failure stops only its heirs."""

    def __init__(
        self,
        plan: Plan,
        results: Path,
        workers: int,
        watcher: Watcher,
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        """stop: asked about once a second; when true, all is as on Ctrl-C."""
        self._results, self._watcher, self._asked = results, watcher, stop
        self._waiting = list(plan.todo)
        self._done = set(plan.done)
        self._planned = {s.id for s in plan.specs}
        self._outcome = Outcome()
        self._context = multiprocessing.get_context("forkserver")
        self._stop = self._context.Event()
        self._count = min(workers, len(self._waiting))
        # GPUs of each worker; 0: the runs use none.
        self._gpus = count_gpus(plan.todo) if uses_gpus(plan.todo) else 0
        self._workers: list[Worker] = []
        self._insisted = False

    def run(self) -> Outcome:
        """Work until nothing can be started any more; Ctrl-C lets runs write a checkpoint."""
        try:
            start_server()
            for slot in range(self._count):
                with _defer_interrupt():  # or it could leave a process nobody knows of
                    self._workers.append(self._start_worker(slot))
            while not self._asked() and (self._assign() or self._has_busy_workers()):
                self._wait_for_messages()
            if self._asked():
                self._stop_runs()
        except KeyboardInterrupt:
            print(
                "stopping: each run writes a checkpoint; Ctrl-C again ends them at once",
                file=sys.stderr,
            )
            self._insisted = True  # if what follows does not come to its end
            self._stop_runs()
            self._insisted = False
        finally:
            self._stop_workers()
        self._outcome.blocked = [] if self._outcome.stopped else self._waiting
        return self._outcome

    def _has_busy_workers(self) -> bool:
        return any(w.spec for w in self._workers)

    def _stop_runs(self) -> None:
        """Let the runs under way write a checkpoint; no other is started."""
        self._outcome.stopped = True
        self._stop.set()
        while self._has_busy_workers():
            self._wait_for_messages()

    def _assign(self) -> bool:
        """Give every idle worker a run that can start; whether any was given."""
        given = False
        for worker in self._workers:
            if worker.spec is not None:
                continue
            ready = next((s for s in self._waiting if self._ready(s)), None)
            if ready is None:
                break
            self._waiting.remove(ready)
            order = (ready.to_dict(), str(self._results))
            try:
                worker.pipe.send(order)
            except OSError:  # it was killed while it had nothing to do
                worker = self._replace_worker(worker)
                worker.pipe.send(order)
            worker.spec = ready
            self._watcher.started(ready)
            given = True
        return given

    def _ready(self, spec: Spec) -> bool:
        # make_plan has seen to it that what is needed and not planned is done already.
        return all(n in self._done or n not in self._planned for n in spec.needs)

    def _wait_for_messages(self) -> None:
        busy = [w for w in self._workers if w.spec]
        sources: list[Any] = [source for w in busy for source in (w.pipe, w.process.sentinel)]
        ready = wait(sources, timeout=HEARTBEAT_SECONDS)
        for worker in busy:
            if worker.pipe in ready or worker.process.sentinel in ready:
                self._handle_message(worker)

    def _handle_message(self, worker: Worker) -> None:
        if worker.spec is None:
            return
        spec = worker.spec
        message: tuple[str, Any] = ("", None)
        with suppress(EOFError, OSError):  # a process that died closes its end
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
            record_killed(RunFolder(self._results, spec.id), value)
            self._replace_worker(worker)
        worker.spec = None
        if kind == "result":
            self._done.add(spec.id)
            self._outcome.finished.append(spec)
            self._watcher.finished(spec, value)
        elif kind != "stopped":
            self._outcome.failed[spec.id] = value
            self._watcher.failed(spec, value)

    def _start_worker(self, slot: int) -> Worker:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(
            target=run_worker, args=(theirs, self._stop, slot * self._gpus if self._gpus else None)
        )
        process.start()
        theirs.close()
        return Worker(slot, process, ours)

    def _replace_worker(self, worker: Worker) -> Worker:
        """A new worker in the place of one that is no more."""
        with _defer_interrupt():
            fresh = self._start_worker(worker.slot)
            self._workers[self._workers.index(worker)] = fresh
        worker.pipe.close()
        return fresh

    def _stop_workers(self) -> None:
        self._stop.set()  # whatever ended us, runs under way write a checkpoint
        for worker in self._workers:
            worker.pipe.close()
        until = time.monotonic() + (0.0 if self._insisted else STOP_SECONDS)
        try:
            for worker in self._workers:
                worker.process.join(timeout=max(0.0, until - time.monotonic()))
        finally:  # nobody is left behind who holds a run
            for worker in self._workers:
                if worker.process.is_alive():
                    worker.process.kill()


@contextmanager
def _defer_interrupt() -> Iterator[None]:
    """Ctrl-C that falls inside comes at the end of it.

    To block the signal would not do: torch's threads take it, and Python hands it to the main one.
    """
    if threading.current_thread() is not threading.main_thread():  # which it does not reach
        yield
        return
    pressed = threading.Event()
    before = signal.signal(signal.SIGINT, lambda *_: pressed.set())
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if pressed.is_set():
        raise KeyboardInterrupt
