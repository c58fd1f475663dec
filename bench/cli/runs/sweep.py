"""`freezebench sweep`: execute the missing runs of sweeps and print their reports."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from bench.cli.arguments import add_workers_argument
from bench.cli.runs.rendezvous import add_rendezvous_argument, meet_machines
from bench.cli.slurm.submit import add_cluster_arguments
from bench.cli.sweep_arguments import add_sweep_arguments, check_data, resolve_sweep
from bench.errors import UserError

if TYPE_CHECKING:
    from bench.planning.plan import Plan
    from bench.planning.sweep import Sweep

HELP = "execute the missing runs of sweeps, here or on Slurm, and print their reports"
EXAMPLE = "freezebench sweep table2 --controls --seeds 3"


def arguments(parser: argparse.ArgumentParser) -> None:
    add_sweep_arguments(parser)
    execution = parser.add_argument_group("execution")
    execution.add_argument(
        "--launcher",
        choices=("local", "slurm"),
        default="local",
        help="local: worker processes on this machine; slurm: jobs of a cluster",
    )
    add_workers_argument(execution)
    add_rendezvous_argument(execution)
    output = parser.add_argument_group("output").add_mutually_exclusive_group()
    output.add_argument("--no-report", action="store_true", help="execute the runs only")
    output.add_argument(
        "--page",
        action="store_true",
        help="write one HTML page of all reports instead of printing them",
    )
    add_cluster_arguments(parser)


def main(args: argparse.Namespace) -> int:
    from bench.cli.runs.plan import describe_plan
    from bench.planning.plan import make_plan
    from bench.results.run_folder import RunFolder

    _check_launcher(args)
    sweep = resolve_sweep(args)
    check_data(sweep.specs)
    plan = make_plan(sweep.specs, args.results)
    workers = args.workers or (1 if args.launcher == "slurm" else 0)
    print(describe_plan(sweep, plan, args.results, workers), flush=True)
    failures = 0
    if args.launcher == "slurm":
        if plan.todo:
            from bench.cli.slurm.submit import submit_missing

            submit_missing(sweep, plan, args)
            return 0
    else:
        with meet_machines(args.rendezvous, sweep.specs) as first:
            if not first:
                return 0
            stopped, failures = _run_locally(sweep, plan, args)
        if stopped:
            return 130
    if args.page:
        from reports.publishing.from_sweep import write_page

        print(write_page(sweep, args.results))
    elif not args.no_report:
        from reports.publishing.from_sweep import write_reports

        write_reports(sweep, args.results)
    diverged = [s for s in sweep.specs if RunFolder(args.results, s.id).diverged]
    for spec in diverged:
        print(
            f"diverged: {spec.label}; a lower learning rate may help; lower it for all methods "
            "alike",
            file=sys.stderr,
        )
    return 1 if failures or diverged else 0


def _run_locally(sweep: Sweep, plan: Plan, args: argparse.Namespace) -> tuple[bool, int]:
    """Execute the missing runs on this machine.

    Returns whether Ctrl-C stopped the execution, and the number of failures. Failed and blocked
    runs count as failures. Each model whose published weights are missing counts as one failure.
    """
    from bench.launch.launch import launch
    from bench.planning.missing_weights import select_executable_runs

    specs, missing = select_executable_runs(sweep, plan)
    for line in missing:
        print(line, file=sys.stderr, flush=True)
    outcome = launch(specs, args.results, args.workers)
    if outcome.failed:
        print(
            f"failed runs: {len(outcome.failed)}; runs not started because they need a failed run: "
            f"{len(outcome.blocked)}; tracebacks of errors: {args.results}/runs/*/traceback.txt; "
            "the same command tries these runs again",
            file=sys.stderr,
        )
    if outcome.stopped:
        print("stopped; the same command continues from here", file=sys.stderr)
    return outcome.stopped, len(outcome.failed) + len(outcome.blocked) + len(missing)


def _check_launcher(args: argparse.Namespace) -> None:
    """Raise UserError if an option of one launcher is given together with the other launcher."""
    if args.launcher == "slurm" and args.workers:
        raise UserError(
            "--workers needs --launcher local; remove --workers, because the GPUs or cores in the "
            "cluster file set how many runs a Slurm job executes at a time"
        )
    if args.launcher == "slurm" and args.rendezvous:
        raise UserError(
            "--rendezvous needs --launcher local; remove --rendezvous, because the nodes of a "
            "Slurm job find each other"
        )
    given = [f"--{name}" for name in ("cluster", "dirty") if getattr(args, name)]
    if args.launcher == "local" and given:
        raise UserError(f"{' and '.join(given)} must be used with --launcher slurm; add it")
