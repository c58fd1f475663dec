"""`freezebench retry`: submit failed runs again, and the runs that were blocked by them."""

from __future__ import annotations

import argparse

from bench.cli.slurm.submit import add_cluster_arguments
from bench.cli.sweep_arguments import add_sweep_arguments, check_data, resolve_sweep
from bench.errors import UserError

HELP = "submit failed runs of sweeps to Slurm again, with the runs that they blocked"
EXAMPLE = "freezebench retry window --failed"


def arguments(parser: argparse.ArgumentParser) -> None:
    add_sweep_arguments(parser)
    add_cluster_arguments(parser)
    parser.add_argument(
        "--failed",
        action="store_true",
        help="select the failed runs; required, there is no other choice yet",
    )


def main(args: argparse.Namespace) -> int:
    from bench.cli.slurm.submit import submit_missing
    from bench.planning.plan import Plan, make_plan
    from bench.results.run_status import BLOCKED, FAILED, read_statuses

    if not args.failed:
        raise UserError(
            "give --failed to select the failed runs (`freezebench sweep --launcher slurm` submits "
            "all missing runs)"
        )
    sweep = resolve_sweep(args)
    check_data(sweep.specs)
    plan = make_plan(sweep.specs, args.results)
    statuses = read_statuses(plan.specs, args.results)
    bad = [s for s in plan.specs if statuses[s.id].state in (FAILED, BLOCKED)]
    if not bad:
        print(f"no run of {sweep.name} has failed")
        return 0
    # A run that a blocked one needs may be missing without a failure. Submit it too.
    wanted = {s.id for s in bad}
    for spec in reversed(plan.specs):
        if spec.id in wanted:
            wanted |= {n for n in spec.needs if n not in plan.done}
    specs = tuple(s for s in plan.specs if s.id in wanted)
    print(f"{sweep.name}: runs that failed or were blocked: {len(bad)}", flush=True)
    submit_missing(sweep, Plan(specs, frozenset()), args)
    return 0
