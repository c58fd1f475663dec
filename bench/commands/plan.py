"""`freezebench plan`: what a sweep would run, what is done, and how long the rest should take."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from bench.commands.places import sweep_arguments, sweep_of

if TYPE_CHECKING:
    from bench.plan import Plan
    from bench.sweep import Sweep

HELP = "what sweeps would run, what is done, and how long the rest should take"


def arguments(parser: argparse.ArgumentParser) -> None:
    sweep_arguments(parser, "*")
    parser.add_argument(
        "--workers", type=int, default=0, help="local processes; 0 = as many as fit"
    )
    parser.add_argument("--each", action="store_true", help="a line a run, with its id")


def main(args: argparse.Namespace) -> int:
    from bench.plan import make_plan

    sweep = sweep_of(args)
    plan = make_plan(sweep.specs, args.results)
    print(describe_plan(sweep, plan, args.results, args.workers))
    if args.each:
        for spec in plan.specs:
            print(f"  {spec.id}  {'done' if spec.id in plan.done else 'to do':5}  {spec.label}")
    return 0


def describe_plan(sweep: Sweep, plan: Plan, results: Path, workers: int) -> str:
    """The plan in a few lines: counts by method, and the time left."""
    from bench.plan import Estimate
    from bench.pool import workers_for
    from bench.progress import duration

    todo = plan.todo
    head = (
        f"{sweep.name}, profile {sweep.profile['name']}: {len(plan.specs)} runs, "
        + (f"{sweep.shared} of them shared between tables, " if sweep.parts else "")
        + f"{len(plan.done)} done, {len(todo)} to do"
    )
    if not todo:
        return head
    estimate = Estimate(plan, results)
    count = workers or workers_for(todo)
    seconds = sum(estimate.seconds(s) for s in todo) / count
    artifacts = {s.id for s in sweep.artifacts}
    kinds = Counter("artifacts" if s.id in artifacts else s.strategy_name for s in todo)
    rows = [f"  {kind}: {number}" for kind, number in kinds.items()]
    rows += [f"  {part.name}: {_left(part, plan)}" for part in sweep.parts]
    return "\n".join([head, *rows, f"about {duration(seconds)} with {count} at a time"])


def _left(part: Sweep, plan: Plan) -> str:
    """How much of one of several sweeps is left; a run that others share counts in each."""
    left = sum(spec.id not in plan.done for spec in part.specs)
    return f"{left} of {len(part.specs)} runs to do"
