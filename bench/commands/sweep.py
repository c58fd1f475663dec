"""`freezebench sweep`: make the missing runs of a sweep and print its report."""

from __future__ import annotations

import argparse
import sys

from bench.commands.places import check_data, sweep_arguments, sweep_of
from bench.errors import UserError

HELP = "make the missing runs of a sweep, then its report"


def arguments(parser: argparse.ArgumentParser) -> None:
    sweep_arguments(parser)
    parser.add_argument(
        "--workers", type=int, default=0, help="local processes; 0 = as many as fit"
    )
    parser.add_argument("--no-report", action="store_true", help="make the runs only")


def main(args: argparse.Namespace) -> int:
    from bench.commands.plan import describe_plan
    from bench.commands.report import write_report
    from bench.launch import launch
    from bench.plan import make_plan
    from bench.results import RunFolder

    if args.workers < 0:
        raise UserError(f"--workers {args.workers} is not valid; give 0 or more")
    sweep = sweep_of(args)
    check_data(sweep.specs)
    plan = make_plan(sweep.specs, args.results)
    print(describe_plan(sweep, plan, args.results, args.workers), flush=True)
    outcome = launch(sweep.specs, args.results, args.workers)
    if outcome.failed:
        print(
            f"{len(outcome.failed)} runs failed and {len(outcome.blocked)} that need them wait; "
            f"why: {args.results}/runs/*/traceback.txt; the same command tries them again",
            file=sys.stderr,
        )
    if outcome.stopped:
        print("stopped; the same command goes on from here", file=sys.stderr)
        return 130
    if not args.no_report:
        write_report(sweep, args.results)
    diverged = [s for s in sweep.specs if RunFolder(args.results, s.id).diverged]
    for spec in diverged:
        print(
            f"diverged: {spec.label}; a lower learning rate may help, for all methods alike",
            file=sys.stderr,
        )
    return 1 if outcome.failed or outcome.blocked or diverged else 0
