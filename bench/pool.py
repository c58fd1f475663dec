"""Runs in local worker processes: one a core or a GPU, each with one run at a time."""

from __future__ import annotations

import multiprocessing.forkserver
import multiprocessing.resource_tracker
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Protocol

from bench.environment import cores
from bench.errors import ProcessLost, UserError
from bench.heartbeat import NAME as PROGRESS
from bench.heartbeat import Displaced, Heartbeat, alive_elsewhere, job_name
from bench.plan import Plan
from bench.results import RunFolder
from bench.spec import Spec

HEARTBEAT_SECONDS = 1.0
STOP_SECONDS = 60.0  # for a checkpoint of a large model
PRELOADED = ["bench.run", "bench.mirror"]
AWAY_SECONDS = 600.0  # for a file system to come back


class Watcher(Protocol):
    """Is told what happens; see bench/progress.py."""

    def started(self, spec: Spec) -> None: ...
    def stepped(self, spec: Spec, step: int, steps: int) -> None: ...
    def finished(self, spec: Spec, result: dict[str, Any]) -> None: ...
    def failed(self, spec: Spec, reason: str) -> None: ...


@dataclass
class Outcome:
    """How a launch ended."""

    finished: list[Spec] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    blocked: list[Spec] = field(default_factory=list)
    stopped: bool = False


def workers_for(specs: Sequence[Spec], asked: int = 0) -> int:
    """One worker a GPU; on CPU one a core; fewer where a run takes several of them.

    asked: so many instead; 0 = as many as fit. Raises UserError if two would share a GPU.
    """
    if not uses_gpus(specs):
        return asked or max(cores() // threads_of(specs), 1)
    import torch  # takes seconds; a launcher of runs on CPU needs none of it

    fit = torch.cuda.device_count() // gpus_of(specs)
    if asked > fit > 0:
        raise UserError(
            f"--workers {asked}: a run has its GPU to itself, or its time would say nothing, and "
            f"the GPUs here hold {fit} at a time; give {fit} at most"
        )
    return asked or max(fit, 1)


def gpus_of(specs: Sequence[Spec]) -> int:
    """How many GPUs each place for a run must have."""
    return max((s.replicas for s in specs), default=1)


def threads_of(specs: Sequence[Spec]) -> int:
    """How many CPU threads each place for a run must have."""
    return max((s.threads * s.replicas for s in specs), default=1)


def uses_gpus(specs: Sequence[Spec]) -> bool:
    """Whether any of the runs wants a GPU."""
    return any(s.device == "cuda" for s in specs)


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
        self._gpus = gpus_of(plan.todo) if uses_gpus(plan.todo) else 0
        self._workers: list[_Worker] = []
        self._insisted = False

    def run(self) -> Outcome:
        """Work until nothing can be started any more; Ctrl-C lets runs write a checkpoint."""
        try:
            start_server()
            for slot in range(self._count):
                with _later():  # or it could leave a process nobody knows of
                    self._workers.append(self._hire(slot))
            while not self._asked() and (self._assign() or self._busy()):
                self._listen()
            if self._asked():
                self._wind_up()
        except KeyboardInterrupt:
            print(
                "stopping: each run writes a checkpoint; Ctrl-C again ends them at once",
                file=sys.stderr,
            )
            self._insisted = True  # if what follows does not come to its end
            self._wind_up()
            self._insisted = False
        finally:
            self._dismiss()
        self._outcome.blocked = [] if self._outcome.stopped else self._waiting
        return self._outcome

    def _busy(self) -> bool:
        return any(w.spec for w in self._workers)

    def _wind_up(self) -> None:
        """Let the runs under way write a checkpoint; no other is started."""
        self._outcome.stopped = True
        self._stop.set()
        while self._busy():
            self._listen()

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
                worker = self._replaced(worker)
                worker.pipe.send(order)
            worker.spec = ready
            self._watcher.started(ready)
            given = True
        return given

    def _ready(self, spec: Spec) -> bool:
        # make_plan has seen to it that what is needed and not planned is done already.
        return all(n in self._done or n not in self._planned for n in spec.needs)

    def _listen(self) -> None:
        busy = [w for w in self._workers if w.spec]
        sources: list[Any] = [source for w in busy for source in (w.pipe, w.process.sentinel)]
        ready = wait(sources, timeout=HEARTBEAT_SECONDS)
        for worker in busy:
            if worker.pipe in ready or worker.process.sentinel in ready:
                self._hear(worker)

    def _hear(self, worker: _Worker) -> None:
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
            _note_killed(RunFolder(self._results, spec.id), value)
            self._replaced(worker)
        worker.spec = None
        if kind == "result":
            self._done.add(spec.id)
            self._outcome.finished.append(spec)
            self._watcher.finished(spec, value)
        elif kind != "stopped":
            self._outcome.failed[spec.id] = value
            self._watcher.failed(spec, value)

    def _hire(self, slot: int) -> _Worker:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(
            target=_work, args=(theirs, self._stop, slot * self._gpus if self._gpus else None)
        )
        process.start()
        theirs.close()
        return _Worker(slot, process, ours)

    def _replaced(self, worker: _Worker) -> _Worker:
        """A new worker in the place of one that is no more."""
        with _later():
            fresh = self._hire(worker.slot)
            self._workers[self._workers.index(worker)] = fresh
        worker.pipe.close()
        return fresh

    def _dismiss(self) -> None:
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
def _later() -> Iterator[None]:
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


def run_and_report(
    spec: Spec, results: Path, stop: Callable[[], bool], tell: Callable[[int, int], None]
) -> tuple[str, Any]:
    """Execute a run and say how it ended: ("result", result), ("stopped", None), ("failed", why).

    A run that another process holds is waited for, and its result taken.
    """
    folder = RunFolder(results, spec.id)
    try:
        while True:
            await_folder(results, stop)
            if not results.is_dir():
                return "stopped", None
            with folder.locked() as ours:
                if folder.complete(spec):
                    return "result", folder.result()
                if ours and not alive_elsewhere(folder, stop) and not folder.complete(spec):
                    with suppress(Displaced):  # then it is held elsewhere, after all
                        return "result", _execute(spec, folder, results, stop, tell)
            if stop():
                return "stopped", None
            time.sleep(HEARTBEAT_SECONDS)
    except (Exception, SystemExit) as error:  # a strategy may call sys.exit
        from bench.run import Stopped

        if isinstance(error, Stopped):
            return "stopped", None
        # Whatever went wrong in one run must not end the others; it is recorded and shown.
        return "failed", _record_failure(folder, error)


def _execute(
    spec: Spec,
    folder: RunFolder,
    results: Path,
    stop: Callable[[], bool],
    tell: Callable[[int, int], None],
) -> dict[str, Any]:
    """Make a run that this process holds, with a sign of life, and mirror it."""
    from bench.distributed.replicas import execute_replicas
    from bench.mirror import mirror
    from bench.run import execute

    make = execute if spec.replicas == 1 else execute_replicas
    with Heartbeat(folder) as beat:

        def progress(step: int, steps: int) -> None:
            beat.tell(step, steps)
            tell(step, steps)

        result = make(spec, results, stop=stop, progress=progress)
    mirror(spec, folder)
    return result


def await_folder(results: Path, stop: Callable[[], bool]) -> None:
    """Wait while the results folder is away, as a lost file system is for a while.

    To go on would make a new one below the empty mount point. Raises UserError after AWAY_SECONDS.
    """
    until = time.monotonic() + AWAY_SECONDS
    while not results.is_dir() and not stop():
        if time.monotonic() > until:
            raise UserError(f"{results} is away; see that its file system is mounted again")
        time.sleep(HEARTBEAT_SECONDS)


def _note_killed(folder: RunFolder, reason: str) -> None:
    """Record a run whose process was killed; what cannot be written is said by its watcher."""
    with suppress(OSError, UserError):
        folder.write("failure.json", {"reason": reason, "killed": True, "job": job_name()})
        folder.remove(PROGRESS)


def _record_failure(folder: RunFolder, error: BaseException) -> str:
    reason = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
    reason = next((line for line in reason.splitlines() if line.strip()), type(error).__name__)
    try:
        log = folder.path / "traceback.txt"
        log.write_text("".join(traceback.format_exception(error)))
        failure = {"reason": reason, "log": str(log), "job": job_name()}
        lost = {"killed": True} if isinstance(error, ProcessLost) else {}
        folder.write("failure.json", failure | lost)
    except (OSError, UserError):
        return f"{reason} (and its folder {folder.path} cannot be written)"
    return reason
