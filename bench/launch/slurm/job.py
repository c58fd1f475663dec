"""Slurm job that executes the runs of its pack in worker processes and survives interruptions.

Slurm ends jobs early with three signals:
SIGUSR2: before the time limit and, on some clusters, before a preemption. The runs write a
checkpoint after the current step, then the job requeues itself.
SIGTERM: on scancel, on `scontrol requeue` and at the start of a preemption's grace time. The job
cannot know which of these happened, so the runs write a checkpoint and continue.
SIGKILL: without warning. By default, a run writes a checkpoint about once a minute.

The signal handlers only set a flag. Workers block SIGUSR2 and SIGTERM, because Slurm sends them
to every process of a job.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from submitit.core.job_environment import JobEnvironment
from submitit.core.utils import DelayedSubmission, UncompletedJobError
from submitit.helpers import TorchDistributedEnvironment

import bench
from bench.errors import ProcessLost, UserError
from bench.files import read_json
from bench.launch.attempt import await_folder
from bench.launch.pool import Pool
from bench.launch.processes.fork_server import start_server
from bench.launch.processes.replicas import follow
from bench.planning.plan import Plan
from bench.results.heartbeat import get_job_name
from bench.results.run_folder import RunFolder
from bench.results.run_status import FAILED, is_running, read_status
from bench.spec import Spec
from bench.training.input_check import check_unchanged

if TYPE_CHECKING:
    from bench.distributed.machines import Machines

TRIES = 2  # attempts per run, counting one whose process was killed or whose folder was missing
LOOK_AGAIN_SECONDS = 5.0
REQUEUE_TRIES = 3
LOCK_CHECKS = 10
# Signal that submitit requests from Slurm before the time limit (SIGUSR2).
USER_SIGNAL = signal.Signals[f"SIG{JobEnvironment.USR_SIG}"]


class PackRunner:
    """Callable that executes the runs of one job; submitit calls it and its `checkpoint` method."""

    def __call__(
        self, code: str, results: str, runs: Sequence[Mapping[str, Any]], at_once: int
    ) -> dict[str, str]:
        """Execute all runs that can start; return the state of each run by id.

        code: the folder that the code must be imported from.
        runs: specs as plain values.
        at_once: number of runs at a time. Raises UserError if the code is imported from elsewhere.
        """
        loaded = Path(bench.__file__).resolve().parent.parent
        if loaded != Path(code).resolve():
            raise UserError(f"this job was submitted with the code in {code} but imported {loaded}")
        specs = [Spec.from_dict(values) for values in runs]
        with StopSignals() as signals, _meet_nodes(specs) as machines:
            start_server(USER_SIGNAL, signal.SIGTERM, signal.SIGCONT)
            if machines and not machines.first:
                follow(machines)
                return {}
            pack = _PackExecution(specs, Path(results), at_once, signals)
            try:
                pack.work()
            except ProcessLost as error:
                sys.exit(f"{_format_time()} {error}")
            if machines and pack.has_lost():
                # Slurm may notice a lost node only later, and the other nodes may be fine.
                sys.exit("a process or a node was lost; requeueing the job")
            return {spec.id: read_status(spec, Path(results)).state for spec in specs}

    def checkpoint(self, *arguments: Any) -> DelayedSubmission:
        """Return this task for a new job. Its runs continue from their own checkpoints."""
        return DelayedSubmission(self, *arguments)


@contextmanager
def _meet_nodes(specs: Sequence[Spec]) -> Iterator[Machines | None]:
    """Meet the job's other nodes, if its runs need any; MASTER_ADDR may name the first node."""
    if specs[0].nodes == 1:
        yield None
        return
    from bench.distributed.machines import meet_at  # imports torch, which takes seconds

    found = TorchDistributedEnvironment()
    address = os.environ.get("MASTER_ADDR", found.master_addr)
    with meet_at(address, found.master_port, found.rank, found.world_size) as machines:
        yield machines


class StopSignals:
    """Signal handlers that set flags.

    leave: SIGUSR2 arrived, so the job must requeue itself.
    save: SIGTERM arrived, so the runs must write checkpoints.
    """

    def __init__(self) -> None:
        self.leave = self.save = False
        self._pid = os.getpid()
        self._before: Any = None

    def __enter__(self) -> StopSignals:
        self._before = signal.signal(USER_SIGNAL, self._request_leave)
        self._before_term = signal.signal(signal.SIGTERM, self._request_save)
        return self

    def __exit__(self, *error: object) -> None:
        signal.signal(signal.SIGTERM, self._before_term)
        signal.signal(USER_SIGNAL, self._before)

    def is_set(self) -> bool:
        """Return whether the runs must write checkpoints and stop for now."""
        return self.leave or self.save

    def requeue(self) -> None:
        """Call submitit's signal handler, which requeues the job and ends this process.

        Call this only while no run is executing. Requeueing can fail because Slurm's controller is
        unreachable for a moment. The call returns only after REQUEUE_TRIES failures. It raises
        submitit's UncompletedJobError if the job has reached its time limit too often.
        """
        for attempt in range(1, REQUEUE_TRIES + 1):
            try:
                self._before(USER_SIGNAL, None)
            except (OSError, subprocess.SubprocessError, AssertionError) as error:
                print(f"requeueing the job failed (attempt {attempt}): {error}", flush=True)
                _clear_stale_pickle()
                time.sleep(LOOK_AGAIN_SECONDS)

    def _request_leave(self, number: int, frame: object) -> None:
        if os.getpid() == self._pid:  # not in a forked child
            self.leave = True

    def _request_save(self, number: int, frame: object) -> None:
        if os.getpid() == self._pid:
            self.save = True


class _PackExecution:
    """Execution of a pack, with the number of attempts of each run in this job."""

    def __init__(
        self, specs: Sequence[Spec], results: Path, at_once: int, signals: StopSignals
    ) -> None:
        self._specs, self._results, self._at_once = specs, results, at_once
        self._signals = signals
        self._tries = dict.fromkeys((s.id for s in specs), 0)

    def work(self) -> None:
        """Execute runs until none is left that could start in this job."""
        _clear_stale_pickle()
        while ready := self._await_ready_runs():
            plan = Plan(tuple(ready), frozenset())
            pool = Pool(plan, self._results, self._at_once, Printer(), self._signals.is_set)
            outcome = pool.run()
            for spec in ready:
                if not outcome.stopped:
                    self._tries[spec.id] += 1
            left = [spec for spec in ready if self._open(spec)]
            if self._signals.leave and left:
                self._leave(left)
            self._signals.save = False

    def has_lost(self) -> bool:
        """Return whether a run has failed because a process or a node of it was lost."""
        left = [s.id for s in self._specs if not self._done(s.id)]
        files = [RunFolder(self._results, run).path / "failure.json" for run in left]
        return any(read_json(file).get("killed") for file in files if file.exists())

    def _await_ready_runs(self) -> list[Spec]:
        """Return the runs that can start. If none can, wait for needed runs of other processes."""
        while True:
            # Without the results folder, every run would look unfinished.
            await_folder(self._results, self._signals.is_set)
            ready, waiting = [], []
            still_open = [s for s in self._specs if self._open(s)]
            planned = {s.id for s in still_open}
            for spec in still_open:
                missing = [n for n in spec.needs if n not in planned and not self._done(n)]
                if not missing:
                    ready.append(spec)
                elif any(is_running(RunFolder(self._results, n)) for n in missing):
                    waiting.append(spec)
                else:
                    self._block(spec, missing)
            if not self._results.is_dir():
                time.sleep(LOOK_AGAIN_SECONDS)
                continue
            if ready or not waiting:
                # Runs that another process is executing come last, as they may be done by then.
                return sorted(ready, key=lambda s: is_running(RunFolder(self._results, s.id)))
            if self._signals.leave:
                self._leave(waiting)
            time.sleep(LOOK_AGAIN_SECONDS)

    def _open(self, spec: Spec) -> bool:
        """Return whether a run is neither done nor given up in this job."""
        folder = RunFolder(self._results, spec.id)
        if folder.is_complete(spec) or self._tries[spec.id] >= TRIES:
            return False
        status = read_status(spec, self._results)
        if status.state == FAILED and status.job == get_job_name():
            failure = read_json(folder.path / "failure.json")
            return bool(failure.get("killed"))  # any other error would occur again
        try:
            check_unchanged(spec)
        except UserError as error:
            if not self._results.is_dir():
                return True  # the file system is missing, so check again later
            self._fail(spec, {"reason": str(error)})
            return False
        return True

    def _done(self, run_id: str) -> bool:
        return RunFolder(self._results, run_id).done

    def _block(self, spec: Spec, missing: Sequence[str]) -> None:
        """Record that a run cannot start because a run that it needs is not done."""
        if not self._results.is_dir():
            return  # the needed runs may exist on the missing file system
        first = RunFolder(self._results, missing[0])
        why = "is not done"
        with suppress(UserError):
            why = f"failed: {read_json(first.path / 'failure.json')['reason']}"
        reason = f"needs run {missing[0]}, which {why}"
        self._tries[spec.id] = TRIES
        self._fail(spec, {"reason": reason, "blocked_by": list(missing)})

    def _fail(self, spec: Spec, why: Mapping[str, Any]) -> None:
        folder = RunFolder(self._results, spec.id)
        for _ in range(LOCK_CHECKS if self._results.is_dir() else 0):
            with folder.hold_lock() as ours:
                if ours and not folder.is_complete(spec):
                    folder.write_failure(spec, {**why, "job": get_job_name()})
            if ours:
                break
            time.sleep(0.2)  # `freezebench status` may hold the lock for a moment
        Printer().failed(spec, why["reason"])

    def _leave(self, specs: Sequence[Spec]) -> None:
        print(f"{_format_time()} job interrupted; checkpoints are written, requeueing", flush=True)
        try:
            self._signals.requeue()
        except UncompletedJobError:
            for spec in specs:
                if self._open(spec):
                    reason = "its job has reached the time limit too often; increase timeout_min"
                    self._fail(spec, {"reason": reason})
            raise
        sys.exit("requeueing the job failed; submit the sweep again")


class Printer:
    """Watcher that prints a line to the job log for each event."""

    def started(self, spec: Spec) -> None:
        """Print that a run starts or resumes."""
        print(f"{_format_time()} {spec.id} starts: {spec.label}", flush=True)

    def stepped(self, spec: Spec, step: int, steps: int) -> None:
        """Print nothing, because the heartbeat in the run folder contains the progress."""

    def finished(self, spec: Spec, result: dict[str, Any]) -> None:
        """Print the status and duration of a finished run."""
        seconds = result["clocks"]["whole"]
        print(f"{_format_time()} {spec.id} {result['status']} in {seconds:.1f} s", flush=True)

    def found(self, spec: Spec, result: dict[str, Any]) -> None:
        """Print that another process has executed the run."""
        print(f"{_format_time()} {spec.id} {result['status']} in another process", flush=True)

    def failed(self, spec: Spec, reason: str) -> None:
        """Print the reason of a failure."""
        print(f"{_format_time()} {spec.id} failed: {reason}", flush=True)


def _clear_stale_pickle() -> None:
    """Delete the temporary pickle of a killed submitit, because it makes the next requeue fail."""
    with suppress(KeyError):  # raised outside a job
        path = JobEnvironment().paths.submitted_pickle
        path.with_suffix(path.suffix + ".save_tmp").unlink(missing_ok=True)


def _format_time() -> str:
    return time.strftime("%H:%M:%S")
