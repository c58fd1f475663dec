"""What one job does: the runs of its pack, each in a worker process, through every cut-off.

Slurm ends jobs early in three ways. USR2 comes before the time limit, and before a preemption
where the cluster is set so: the runs write a checkpoint at a step border, then the job queues
itself again. TERM comes with scancel, with `scontrol requeue` and at the start of a preemption's
grace; what follows cannot be told, so the runs write a checkpoint and go on. KILL comes without
a word: the last checkpoint is at most a minute old.

The signal handlers only set a flag. The workers are deaf to both signals, since Slurm sends them
to every process of a job.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from submitit.core.job_environment import JobEnvironment
from submitit.core.utils import DelayedSubmission, UncompletedJobError

import bench
from bench.errors import UserError
from bench.files import read_json
from bench.launch.attempt import await_folder
from bench.launch.pool import Pool
from bench.launch.worker import start_server
from bench.planning.plan import Plan
from bench.results.heartbeat import get_job_name
from bench.results.run_folder import RunFolder
from bench.results.run_status import FAILED, is_running, read_status
from bench.spec import Spec
from bench.training.input_check import check_unchanged

TRIES = 2  # of a run whose process was killed, or whose folder was away
LOOK_AGAIN_SECONDS = 5.0
REQUEUE_TRIES = 3
GLANCES = 10
USER_SIGNAL = signal.Signals[f"SIG{JobEnvironment.USR_SIG}"]  # the one submitit asks Slurm for


class PackRunner:
    """Makes the runs of one job; submitit calls it, and asks it for a checkpoint."""

    def __call__(
        self, code: str, results: str, runs: Sequence[Mapping[str, Any]], at_once: int
    ) -> dict[str, str]:
        """Make all runs that can be made; returns where each stands.

        code: the folder that the program must have been loaded from. runs: specs as plain values.
        Raises UserError if the program came from elsewhere.
        """
        loaded = Path(bench.__file__).resolve().parent.parent
        if loaded != Path(code).resolve():
            raise UserError(f"this job was sent with the code in {code} and has loaded {loaded}")
        specs = [Spec.from_dict(values) for values in runs]
        with StopSignals() as signals:
            start_server(USER_SIGNAL, signal.SIGTERM, signal.SIGCONT)
            _PackExecution(specs, Path(results), at_once, signals).work()
            return {spec.id: read_status(spec, Path(results)).state for spec in specs}

    def checkpoint(self, *arguments: Any) -> DelayedSubmission:
        """The same again: the runs' own checkpoints hold all there is to keep."""
        return DelayedSubmission(self, *arguments)


class StopSignals:
    """Signals as flags. `leave`: the job must queue itself again. `save`: write checkpoints."""

    def __init__(self) -> None:
        self.leave = self.save = False
        self._pid = os.getpid()
        self._number = USER_SIGNAL
        self._before: Any = None

    def __enter__(self) -> StopSignals:
        self._before = signal.signal(self._number, self._request_leave)
        self._before_term = signal.signal(signal.SIGTERM, self._request_save)
        return self

    def __exit__(self, *error: object) -> None:
        signal.signal(signal.SIGTERM, self._before_term)
        signal.signal(self._number, self._before)

    def any(self) -> bool:
        """Whether the runs have to stop for now."""
        return self.leave or self.save

    def requeue(self) -> None:
        """Let submitit write the job's pickle and requeue it; ends this process.

        Called between runs, where nothing is cut in two. Raises submitit's UncompletedJobError
        if the job has run into its limit too often.
        """
        for attempt in range(1, REQUEUE_TRIES + 1):
            try:
                self._before(self._number, None)
            except (OSError, subprocess.SubprocessError, AssertionError) as error:
                # The controller may be away for a moment.
                print(f"could not be queued again (try {attempt}): {error}", flush=True)
                _clear_stale_pickle()
                time.sleep(LOOK_AGAIN_SECONDS)

    def _request_leave(self, number: int, frame: object) -> None:
        if os.getpid() == self._pid:  # not in a forked child
            self.leave = True

    def _request_save(self, number: int, frame: object) -> None:
        if os.getpid() == self._pid:
            self.save = True


class _PackExecution:
    """The runs of a pack, and what has become of them in this job."""

    def __init__(
        self, specs: Sequence[Spec], results: Path, at_once: int, signals: StopSignals
    ) -> None:
        self._specs, self._results, self._at_once = specs, results, at_once
        self._signals = signals
        self._tries = dict.fromkeys((s.id for s in specs), 0)

    def work(self) -> None:
        """Make runs until none is left that could be made here."""
        _clear_stale_pickle()
        while ready := self._ready():
            plan = Plan(tuple(ready), frozenset())
            pool = Pool(plan, self._results, self._at_once, Printer(), self._signals.any)
            outcome = pool.run()
            for spec in ready:
                if not outcome.stopped:
                    self._tries[spec.id] += 1
            left = [spec for spec in ready if self._open(spec)]
            if self._signals.leave and left:
                self._leave(left)
            self._signals.save = False

    def _ready(self) -> list[Spec]:
        """Runs that can be made now; waits while all that is left needs a run under way."""
        while True:
            # Nothing may be judged, nor written, while the folder is away.
            await_folder(self._results, self._signals.any)
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
                # Those that another process is making come last: it may be done by then.
                return sorted(ready, key=lambda s: is_running(RunFolder(self._results, s.id)))
            if self._signals.leave:
                self._leave(waiting)
            time.sleep(LOOK_AGAIN_SECONDS)

    def _open(self, spec: Spec) -> bool:
        """Whether a run is neither done nor given up in this job."""
        folder = RunFolder(self._results, spec.id)
        if folder.is_complete(spec) or self._tries[spec.id] >= TRIES:
            return False
        there = read_status(spec, self._results)
        if there.state == FAILED and there.job == get_job_name():
            failure = read_json(folder.path / "failure.json")
            return bool(failure.get("killed"))  # an error of its own would only come again
        try:
            check_unchanged(spec)
        except UserError as error:
            if not self._results.is_dir():
                return True  # the file is away with all others; to be looked at again
            self._fail(spec, {"reason": str(error)})
            return False
        return True

    def _done(self, run_id: str) -> bool:
        return RunFolder(self._results, run_id).done

    def _block(self, spec: Spec, missing: Sequence[str]) -> None:
        """Record that a run cannot be made, since one that it needs is not done."""
        if not self._results.is_dir():
            return  # they may only be away
        first = RunFolder(self._results, missing[0])
        why = "is not done"
        with suppress(UserError):
            why = f"failed: {read_json(first.path / 'failure.json')['reason']}"
        reason = f"needs run {missing[0]}, which {why}"
        self._tries[spec.id] = TRIES
        self._fail(spec, {"reason": reason, "blocked_by": list(missing)})

    def _fail(self, spec: Spec, why: Mapping[str, Any]) -> None:
        folder = RunFolder(self._results, spec.id)
        for _ in range(GLANCES if self._results.is_dir() else 0):
            with folder.hold_lock() as ours:
                if ours and not folder.is_complete(spec):
                    folder.write("failure.json", {**why, "job": get_job_name()})
            if ours:
                break
            time.sleep(0.2)  # somebody may only be looking, as `status` does
        Printer().failed(spec, why["reason"])

    def _leave(self, specs: Sequence[Spec]) -> None:
        print(f"{_format_time()} cut off; checkpoints are written, queueing again", flush=True)
        try:
            self._signals.requeue()
        except UncompletedJobError:
            for spec in specs:
                if self._open(spec):
                    reason = "its job ran into the time limit too often; raise timeout_min"
                    self._fail(spec, {"reason": reason})
            raise
        sys.exit("the job could not be queued again; launch the sweep once more")


class Printer:
    """A line in the job's log for all that happens."""

    def started(self, spec: Spec) -> None:
        """A run begins or goes on."""
        print(f"{_format_time()} {spec.id} starts: {spec.label}", flush=True)

    def stepped(self, spec: Spec, step: int, steps: int) -> None:
        """Nothing: the run's own folder has it."""

    def finished(self, spec: Spec, result: dict[str, Any]) -> None:
        """A run has a result."""
        seconds = result["clocks"]["whole"]
        print(f"{_format_time()} {spec.id} {result['status']} in {seconds:.1f} s", flush=True)

    def failed(self, spec: Spec, reason: str) -> None:
        """A run failed."""
        print(f"{_format_time()} {spec.id} failed: {reason}", flush=True)


def _clear_stale_pickle() -> None:
    """Delete what a submitit that was killed left; it would refuse the next checkpoint."""
    with suppress(KeyError):  # outside a job there is no folder
        path = JobEnvironment().paths.submitted_pickle
        path.with_suffix(path.suffix + ".save_tmp").unlink(missing_ok=True)


def _format_time() -> str:
    return time.strftime("%H:%M:%S")
