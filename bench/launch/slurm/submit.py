"""Submission of the missing runs of a plan to Slurm, as job arrays with dependencies."""

from __future__ import annotations

import io
import os
import shlex
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.errors import UserError
from bench.launch.slurm import slurm_commands
from bench.launch.slurm.cluster_file import ClusterSettings
from bench.launch.slurm.code_snapshot import CodeSnapshot, copy_inputs
from bench.launch.slurm.packing import ArrayPlan, plan_arrays
from bench.launch.slurm.submissions import (
    LATE_SECONDS,
    Array,
    RunLocation,
    Submissions,
    locate_runs,
)
from bench.planning.estimates import DurationEstimator
from bench.planning.plan import Plan
from bench.results.run_status import BLOCKED, FAILED, RUNNING, RunStatus
from bench.spec import Spec

# Slurm requeues a job if its node is lost. The script requeues it in three other cases: its process
# was killed (exit status 137 = 128 + SIGKILL), SIGUSR2 arrived before Python had installed its
# handler (140 = 128 + SIGUSR2), or a failing node could not start the process (1).
# On exit status 255, submitit has requeued the job already. scancel ends the script itself.
# One job of an array has the id of the array, and `scontrol requeue` would requeue all of its jobs.
TEARDOWN = """\
status=$?
case "$status" in
  0|255) most=0 ;;
  137|140) most=%d ;;
  *) most=%d ;;
esac
if [ "${SLURM_RESTART_COUNT:-0}" -lt "$most" ]; then
  echo "exit status $status; requeueing the job"
  task="${SLURM_ARRAY_JOB_ID:+${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID}"
  scontrol requeue "${task:-$SLURM_JOB_ID}"
fi
exit "$status"
"""


# Limit of restarts for a status that a failing node and a faulty job have in common.
MOST_FAILED_STARTS = 3


@dataclass(frozen=True)
class SubmissionPlan:
    """Arrays to submit.

    queued: runs that are in a job already, by id.
    elsewhere: runs that a process is executing.
    """

    arrays: list[ArrayPlan]
    queued: dict[str, RunLocation]
    elsewhere: list[Spec]

    @property
    def specs(self) -> list[Spec]:
        """All runs that would be submitted."""
        return [spec for planned in self.arrays for spec in planned.specs]


def plan_submission(
    plan: Plan,
    statuses: dict[str, RunStatus],
    queued: dict[str, RunLocation],
    settings: ClusterSettings,
    results: Path,
) -> SubmissionPlan:
    """Return the arrays of the runs that are not done, not queued and not running.

    A run that failed in a job which is still in the queue counts as not queued.
    statuses: status of every run, by id.
    queued: locations of the queued runs, by id.
    Raises slurm_commands.Unreachable if scontrol fails.
    """
    todo, elsewhere = [], []
    for spec in plan.todo:
        if statuses[spec.id].state == RUNNING:
            elsewhere.append(spec)
        elif spec.id not in queued or _has_failed(statuses[spec.id], queued[spec.id]):
            todo.append(spec)
    estimator = DurationEstimator(plan, results)
    return SubmissionPlan(
        plan_arrays(
            todo,
            estimator.estimate_seconds,
            seconds_per_job=settings.seconds_per_job,
            runs_per_job=settings.packing["runs_per_job"],
            most_jobs=min(settings.packing["max_jobs"], slurm_commands.get_array_limit()),
            at_once=settings.count_at_once(todo),
        ),
        {run: place for run, place in queued.items() if run not in {s.id for s in todo}},
        elsewhere,
    )


def submit_arrays(
    intent: SubmissionPlan,
    submissions: Submissions,
    settings: ClusterSettings,
    code: CodeSnapshot,
    sweep: str,
    results: Path,
) -> list[Array]:
    """Submit all arrays, or none. The caller must hold the lock of the submissions.

    If sbatch rejects an array, cancel the arrays submitted so far and raise UserError with the
    message of sbatch.
    """
    sent: list[Array] = []
    holder: dict[str, str] = {
        run: _get_array_id(place.number) for run, place in intent.queued.items()
    }
    try:
        for planned in intent.arrays:
            waits_for = {holder[n] for spec in planned.specs for n in spec.needs if n in holder}
            packs = [[spec.id for spec in pack] for pack in planned.packs]
            array = Array.new(sweep, code.commit, packs)
            submissions.write(array)  # before sbatch, so that the next launcher finds the array
            sent.append(array)
            array.jobs = _submit_array(
                planned, array, sorted(waits_for), submissions, settings, code, results
            )
            submissions.write(array)
            holder |= {spec.id: _get_array_id(array.jobs[0]) for spec in planned.specs}
        release_arrays(sent, submissions)
    except BaseException:  # KeyboardInterrupt too: no half-submitted sweep may stay in the queue
        cancel_arrays(sent, submissions)
        raise
    return sent


def release_arrays(arrays: Iterable[Array], submissions: Submissions) -> None:
    """Release arrays whose job ids are recorded."""
    for array in arrays:
        slurm_commands.release([_get_array_id(array.jobs[0])])
        array.released = True
        submissions.write(array)


def cancel_arrays(arrays: Iterable[Array], submissions: Submissions) -> None:
    """Cancel arrays that have not started, found by name because their job ids may be unknown."""
    for array in arrays:
        found = [job.id for job in slurm_commands.find_jobs([array.name])]
        slurm_commands.cancel(sorted({_get_array_id(number) for number in found}))
        if array.jobs:
            array.ended = True
            submissions.write(array)
        # Keep the record of an array without job ids, because its sbatch may still be running.


def reconcile(submissions: Submissions) -> dict[str, RunLocation]:
    """Compare the records with Slurm's queue; return the locations of the queued runs.

    The function completes what a killed launcher left behind. An array without job ids never
    started, so it is cancelled. An array that was not released is released now. The caller must
    hold the lock of the submissions. Raises slurm_commands.Unreachable if a Slurm command fails.
    """
    live = submissions.list_active()
    jobs = slurm_commands.find_jobs(array.name for array in live)
    present = {job.name for job in jobs}
    for array in live:
        if not array.jobs:
            cancel_arrays([array], submissions)
            if time.time() - array.sent_at > LATE_SECONDS:
                submissions.remove_array(array)
        elif array.name not in present:
            array.ended = True
            submissions.write(array)
        elif not array.released:
            release_arrays([array], submissions)
    return locate_runs((array for array in live if array.jobs and not array.ended), jobs)


def _has_failed(status: RunStatus, place: RunLocation) -> bool:
    """Return whether a run failed in a job that is still executing other runs."""
    return status.state in (FAILED, BLOCKED) and status.job == place.number


def _submit_array(
    planned: ArrayPlan,
    array: Array,
    waits_for: Sequence[str],
    submissions: Submissions,
    settings: ClusterSettings,
    code: CodeSnapshot,
    results: Path,
) -> list[str]:
    """Submit one array in held state. Return the ids of its jobs."""
    import submitit

    from bench.launch.slurm.job import PackRunner

    specs = planned.specs
    at_once = settings.count_at_once(specs)
    orders = [[copy_inputs(spec, code).to_dict() for spec in pack] for pack in planned.packs]
    try:
        executor = submitit.SlurmExecutor(
            folder=submissions.folder(array), max_num_timeout=settings.packing["max_requeues"]
        )
        executor.update_parameters(**_build_parameters(array, waits_for, specs, settings, code))
        # submitit prints the message of sbatch to stderr; the UserError below contains it.
        with _hide_job_variables(), redirect_stderr(io.StringIO()):
            count = len(orders)
            jobs = executor.map_array(
                PackRunner(), [str(code.path)] * count, [str(results.resolve())] * count, orders,
                [at_once] * count,
            )  # fmt: skip
    except (RuntimeError, OSError) as error:
        words = " ".join(str(error).split())
        raise UserError(f"the jobs were not submitted ({words}); check {settings.file}") from error
    return [str(job.job_id) for job in jobs]


def write_teardown(max_requeues: int) -> str:
    """Return the last lines of a job's script.

    They requeue the job if it ended with an error, unless submitit has requeued it already.
    max_requeues: maximum number of restarts.
    """
    return TEARDOWN % (max_requeues, min(MOST_FAILED_STARTS, max_requeues))


@contextmanager
def _hide_job_variables() -> Iterator[None]:
    """Remove the environment variables of a surrounding job, which sbatch reads as options.

    submitit's clean_env removes SLURM_CONF too, but some clusters are not reachable without it.
    """
    prefixes = ("SLURM_", "SLURMD_", "SUBMITIT_")
    names = [n for n in os.environ if n.startswith(prefixes) and n != "SLURM_CONF"]
    hidden = {name: os.environ.pop(name) for name in names}
    try:
        yield
    finally:
        os.environ.update(hidden)


def _build_parameters(
    array: Array,
    waits_for: Sequence[str],
    specs: Sequence[Spec],
    settings: ClusterSettings,
    code: CodeSnapshot,
) -> dict[str, Any]:
    """Return all parameters of submitit's executor."""
    given = settings.collect_parameters()
    threads = max(spec.threads for spec in specs)
    place = shlex.quote(str(code.path))
    given["setup"] = [
        *settings.resources["setup"],
        # Python imports from the current folder first, and a job starts in the launcher's folder.
        f"cd {place}",
        f"export PYTHONPATH={place}${{PYTHONPATH:+:$PYTHONPATH}}",
        f"export OMP_NUM_THREADS={threads} MKL_NUM_THREADS={threads}",
    ]
    given["teardown"] = [write_teardown(settings.packing["max_requeues"])]
    # Since Slurm 22.05, srun no longer inherits --cpus-per-task from the job.
    given["srun_args"] = [f"--cpus-per-task={settings.resources['cpus_per_task']}"]
    if specs[0].nodes > 1:  # the runs of an array have the same number of nodes
        given |= {"nodes": specs[0].nodes, "ntasks_per_node": 1}
        # The first node would wait for a lost launcher of another one.
        given["srun_args"].append("--kill-on-bad-exit=1")
    given["job_name"] = array.name
    if waits_for:
        # Not afterok, because a failed run must not block runs that do not need it. Each job
        # checks that the runs it depends on are done.
        given["dependency"] = "afterany:" + ":".join(waits_for)
    given["additional_parameters"] = {
        **settings.resources["additional_parameters"],
        "hold": True,
        "requeue": True,  # a cluster may disable requeueing by default
    }
    return given


def _get_array_id(number: str) -> str:
    """Return the id of the array that a job belongs to."""
    return number.partition("_")[0]
