"""`freezebench sweep`: make the missing runs of sweeps, each run once, and print the reports."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from bench.cli.arguments import add_sweep_arguments, add_workers_argument, check_data, resolve_sweep
from bench.cli.slurm.submit import add_cluster_arguments
from bench.errors import UserError

if TYPE_CHECKING:
    from bench.planning.plan import Plan
    from bench.planning.sweep import Sweep

HELP = "make the missing runs of sweeps, then their reports; here, or on Slurm"


def arguments(parser: argparse.ArgumentParser) -> None:
    add_sweep_arguments(parser)
    parser.add_argument(
        "--launcher",
        choices=("local", "slurm"),
        default="local",
        help="in processes of this machine, or as jobs of a cluster",
    )
    add_workers_argument(parser)
    told = parser.add_mutually_exclusive_group()
    told.add_argument("--no-report", action="store_true", help="make the runs only")
    told.add_argument(
        "--page", action="store_true", help="write one HTML page of all, in place of printing each"
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
            return _submit(sweep, plan, args)
    else:
        stopped, failures = _run_locally(sweep, args)
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
            f"diverged: {spec.label}; a lower learning rate may help, for all methods alike",
            file=sys.stderr,
        )
    return 1 if failures or diverged else 0


def _run_locally(sweep: Sweep, args: argparse.Namespace) -> tuple[bool, int]:
    """Make the missing runs here: whether it was stopped, and how many could not be made."""
    from bench.launch.launch import launch

    outcome = launch(sweep.specs, args.results, args.workers)
    if outcome.failed:
        print(
            f"{len(outcome.failed)} runs failed and {len(outcome.blocked)} that need them wait; "
            f"why: {args.results}/runs/*/traceback.txt; the same command tries them again",
            file=sys.stderr,
        )
    if outcome.stopped:
        print("stopped; the same command goes on from here", file=sys.stderr)
    return outcome.stopped, len(outcome.failed) + len(outcome.blocked)


def _submit(sweep: Sweep, plan: Plan, args: argparse.Namespace) -> int:
    """Send the missing runs to the cluster."""
    from bench.cli.slurm.submit import submit_missing

    submit_missing(sweep, plan, args)
    return 0


def _check_launcher(args: argparse.Namespace) -> None:
    """Raise UserError for options of one launcher that are given to the other."""
    if args.launcher == "slurm" and args.workers:
        raise UserError("--workers is for --launcher local; a cluster file says how jobs are cut")
    if args.launcher == "local" and (args.cluster or args.dirty):
        raise UserError("--cluster and --dirty are for --launcher slurm; give it too")
