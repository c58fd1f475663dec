"""`freezebench sweep`: make the missing runs of a sweep and print its report."""

from __future__ import annotations

import argparse
import sys

from bench.commands.places import sweep_arguments, sweep_of

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

    sweep = sweep_of(args)
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
    return 1 if outcome.failed or outcome.blocked else 0
