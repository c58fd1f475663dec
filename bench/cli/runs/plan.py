"""`freezebench plan`: runs of sweeps, how many are done, time of the rest, and cost of all runs."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from bench.cli.arguments import add_workers_argument
from bench.cli.sweep_arguments import add_sweep_arguments, resolve_sweep
from bench.machine.device_speed import A100, CORE, Speed, parse_speed

if TYPE_CHECKING:
    from bench.planning.cost_estimate import CostEstimate
    from bench.planning.plan import Plan
    from bench.planning.sweep import Sweep
    from bench.spec import Spec

HELP = "show the runs of sweeps, how many are done, and the time that the rest should take"
EXAMPLE = "freezebench plan table2 --profile paper --each"


def arguments(parser: argparse.ArgumentParser) -> None:
    add_sweep_arguments(parser, "*")
    add_workers_argument(parser)
    parser.add_argument("--each", action="store_true", help="print each run with its id")
    parser.add_argument(
        "--device-speed",
        default="",
        metavar="NAME=TFLOPS",
        help="sustained training speed of a GPU in TFLOP/s, for example V100=8.9 "
        "(default: an A100 in TF32)",
    )


def main(args: argparse.Namespace) -> int:
    from bench.launch.capacity import uses_gpus
    from bench.planning.cost_estimate import estimate_cost
    from bench.planning.plan import make_plan

    speed = parse_speed(args.device_speed) if args.device_speed else A100
    sweep = resolve_sweep(args)
    plan = make_plan(sweep.specs, args.results)
    print(describe_plan(sweep, plan, args.results, args.workers, speed.flops))
    published = any(spec.weights in ("pretrained", "file") for spec in sweep.specs)
    large = published and sweep.profile["name"] != "laptop"  # its weights are shipped files
    if args.device_speed or large or uses_gpus(sweep.specs):
        print(describe_cost(estimate_cost(sweep), speed))
    if args.each:
        for spec in plan.specs:
            print(_format_run(spec, spec.id in plan.done))
    return 0


def _format_run(spec: Spec, done: bool) -> str:
    from bench.planning.cost_estimate import is_upper_bound
    from bench.planning.estimates import count_full_flops

    sign = "≤ " if is_upper_bound(spec) else ""
    cost = f"{sign}{_format_number(count_full_flops(spec) / 1e12)} TFLOPs"
    return f"  {spec.id}  {'done' if done else 'to do':5}  {cost:>20}  {spec.label}"


def _format_number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"


def describe_cost(estimate: CostEstimate, speed: Speed) -> str:
    """Return the estimated cost of the runs by sweep, in PFLOPs, GPU hours and CPU core hours.

    speed: training speed of the GPU.
    """

    def row(what: str, runs: int, flops: float, bound: bool) -> str:
        sign = "≤ " if bound else ""
        cost, gpu, cpu = (
            f"{sign}{_format_number(flops / 1e15)}",
            f"{sign}{speed.estimate_hours(flops):,.1f}",
            f"{sign}{CORE.estimate_hours(flops):,.0f}",
        )
        return f"  {what:44}{runs:>6}{cost:>14}{gpu:>12}{cpu:>12}"

    rows = [
        f"estimated training cost (GPU: {speed.name} at {speed.flops / 1e12:.3g} TFLOP/s "
        f"sustained; {CORE.name} at {CORE.flops / 1e9:.3g} GFLOP/s); "
        "≤ marks an upper bound, the cost of full training",
        "on small inputs, a GPU is slower than this estimate: a step of MobileNetV2 at 64 pixels "
        "takes 0.018 s on an H200 (reports/measured/cuda)",
        f"  {'':44}{'runs':>6}{'PFLOPs':>14}{'GPU hours':>12}{'core hours':>12}",
    ]
    for sweep, (runs, flops) in estimate.own.items():
        lines = [line for line in estimate.lines if line.sweep == sweep]
        rows.append(sweep)
        rows += [row(line.what, line.runs, line.flops, line.bound) for line in lines]
        bound = any(line.bound for line in lines)
        what = "all" if len(estimate.own) == 1 else "new in this sweep"
        rows.append(row(what, runs, flops, bound))
    if len(estimate.own) > 1:
        rows.append("total")
        rows.append(row("each run once", estimate.runs, estimate.flops, estimate.bound))
    return "\n".join(rows)


def format_roles(sweep: Sweep) -> list[str]:
    """Return a line with the models and data sets that roles stand for, if any name differs."""
    pairs = [f"{role} = {name}" for role, name in sweep.names.items() if role != name]
    return [f"  roles: {', '.join(pairs)}"] if pairs else []


def describe_plan(
    sweep: Sweep, plan: Plan, results: Path, workers: int, gpu: float = A100.flops
) -> str:
    """Return the plan in a few lines: numbers of runs by method, and the time left.

    gpu: sustained training speed of a GPU in FLOP/s. It serves to estimate GPU runs without a
    similar finished run.
    """
    from bench.launch.capacity import count_workers
    from bench.launch.progress import format_duration
    from bench.planning.estimates import DurationEstimator

    todo = plan.todo
    head = (
        f"{sweep.name}, profile {sweep.profile['name']}: "
        f"{len(plan.specs)} run{'s' * (len(plan.specs) != 1)}, "
        + (f"{sweep.shared} of them shared between sweeps, " if sweep.parts else "")
        + f"{len(plan.done)} done, {len(todo)} to do"
    )
    if not todo:
        return head
    estimator = DurationEstimator(plan, results, gpu)
    count = min(workers or count_workers(todo), len(todo))
    each = [estimator.estimate_seconds(s) for s in todo]
    seconds = max(*each, sum(each) / count)
    artifacts = {s.id for s in sweep.artifacts}
    kinds = Counter("artifacts" if s.id in artifacts else s.strategy_name for s in todo)
    rows = [f"  {kind}: {number}" for kind, number in kinds.items()]
    rows += [f"  {part.name}: {_describe_remaining(part, plan)}" for part in sweep.parts]
    at_once = f"{count} run{'s' * (count != 1)} at a time"
    left = f"time left: about {format_duration(seconds)}, {at_once}"
    return "\n".join([head, *format_roles(sweep), *rows, left])


def _describe_remaining(part: Sweep, plan: Plan) -> str:
    """Return how many runs of one sweep are left. A shared run counts in each of its sweeps."""
    left = sum(spec.id not in plan.done for spec in part.specs)
    return f"{left} of {len(part.specs)} runs to do"
