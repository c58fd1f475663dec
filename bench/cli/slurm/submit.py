"""Submission of missing runs to Slurm, shared by `sweep` and `retry`: show, confirm, submit."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from bench.errors import UserError

if TYPE_CHECKING:
    from bench.launch.slurm.cluster_file import ClusterSettings
    from bench.launch.slurm.submit import SubmissionPlan
    from bench.planning.plan import Plan
    from bench.planning.sweep import Sweep


def add_cluster_arguments(parser: argparse.ArgumentParser) -> None:
    """Add --cluster, --yes and --dirty."""
    slurm = parser.add_argument_group("Slurm")
    slurm.add_argument(
        "--cluster",
        default="",
        metavar="FILE",
        help="TOML file of the resources that a job requests (default: cluster.toml)",
    )
    slurm.add_argument("--yes", action="store_true", help="submit to Slurm without confirmation")
    slurm.add_argument(
        "--dirty", action="store_true", help="submit the code although it has uncommitted changes"
    )


def submit_missing(sweep: Sweep, plan: Plan, args: argparse.Namespace) -> None:
    """Submit the runs of a plan that are missing and not queued."""
    from bench.files import make_results_folder
    from bench.launch.slurm import slurm_commands
    from bench.launch.slurm.cluster_file import load_settings
    from bench.launch.slurm.code_snapshot import snapshot_code
    from bench.launch.slurm.submissions import Submissions
    from bench.launch.slurm.submit import plan_submission, reconcile, submit_arrays
    from bench.results.run_status import read_statuses

    settings = load_settings(args.cluster)
    settings.check_for(plan.todo)
    slurm_commands.check_slurm()
    make_results_folder(args.results)
    submissions = Submissions(args.results)

    def look() -> SubmissionPlan:
        """Return what to submit. The caller holds the lock, so no run is submitted twice."""
        statuses = read_statuses(plan.specs, args.results)
        return plan_submission(plan, statuses, reconcile(submissions), settings, args.results)

    try:
        with submissions.hold_lock():
            code = snapshot_code(args.results, args.dirty)
            intent = look()
        print(describe_submission(intent, settings), flush=True)
        if not intent.specs:
            return
        _confirm(args.yes)
        with submissions.hold_lock():  # released during confirmation, so look again
            now = look()
            if {s.id for s in now.specs} != {s.id for s in intent.specs}:
                print(
                    f"the queue changed meanwhile: {describe_submission(now, settings)}",
                    flush=True,
                )
            arrays = submit_arrays(now, submissions, settings, code, sweep.name, args.results)
    except slurm_commands.Unreachable as error:
        raise UserError(
            f"Slurm does not answer ({error}); try again later, or on a login node"
        ) from None
    for array in arrays:
        first, last = array.jobs[0], array.jobs[-1]
        print(
            f"submitted jobs {first} to {last}" if len(array.jobs) > 1 else f"submitted job {first}"
        )
    print(f"code: {code.commit}, kept in {code.path}")
    print(f"to watch: freezebench status {' '.join(args.sweep)} --watch (with the same options)")


def describe_submission(intent: SubmissionPlan, settings: ClusterSettings) -> str:
    """Return a few lines that describe the arrays and the resources of a job."""
    lines = []
    if count := len(intent.queued):
        lines.append(f"{count} {'run is' if count == 1 else 'runs are'} already in the queue")
    if count := len(intent.elsewhere):
        lines.append(f"{count} {'run is' if count == 1 else 'runs are'} running in another process")
    for number, planned in enumerate(intent.arrays, start=1):
        at_once = settings.count_at_once(planned.specs)
        runs, jobs = len(planned.specs), len(planned.packs)
        lines.append(
            f"array {number}: {runs} run{'s' * (runs != 1)} in {jobs} job{'s' * (jobs != 1)}"
            + (f", {at_once} at a time in a job" if at_once > 1 else "")
        )
    if intent.arrays:
        given = settings.collect_parameters()
        words = ", ".join(
            f"{key} {given[key]}"
            for key in ("partition", "account", "qos", "gpus_per_node", "cpus_per_task", "mem")
            if key in given
        )
        lines.append(f"each job: at most {settings.timeout_min} min, {words}")
    else:
        lines.append("nothing to submit")
    return "\n".join(lines)


def _confirm(yes: bool) -> None:
    """Raise UserError or KeyboardInterrupt unless the user agrees."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise UserError(
            "stdin is not a terminal, so we cannot ask for confirmation; give --yes to submit"
        )
    try:
        answer = input("submit? [y/N] ")
    except EOFError:  # Ctrl-D
        answer = ""
    if answer.strip().lower() not in ("y", "yes"):
        raise KeyboardInterrupt
