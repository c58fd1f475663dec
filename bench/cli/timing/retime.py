"""`freezebench retime`: time of a run relative to full training, from interleaved steps."""

from __future__ import annotations

import argparse

from bench.cli.argument_types import parse_seconds
from bench.cli.arguments import require_results
from bench.cli.sweep_arguments import add_sweep_arguments, resolve_sweep
from bench.errors import UserError

HELP = "time finished runs again, alternating their steps with steps of full training"
EXAMPLE = "freezebench retime table2 --only-seed 0"
SKIPPED = (
    "a run is skipped if it is not done, if it has diverged, if it uses cache_prefix, compiled or "
    "replicas, or if its result does not list all freeze states"
)


def arguments(parser: argparse.ArgumentParser) -> None:
    add_sweep_arguments(parser)
    timed = parser.add_argument_group("timing")
    timed.add_argument(
        "--seconds",
        type=parse_seconds,
        default=20.0,
        metavar="FLOAT",
        help="measuring time of each run",
    )
    timed.add_argument(
        "--only-seed",
        type=int,
        default=None,
        metavar="INT",
        help="time the runs of one seed only (default: all seeds)",
    )
    timed.add_argument(
        "--again", action="store_true", help="also time runs that have been timed before"
    )


def main(args: argparse.Namespace) -> int:
    from bench.perf.replay import FILE, find_timing_obstacle, retime
    from bench.results.run_folder import RunFolder
    from bench.spec import FULL

    sweep, skipped, before = resolve_sweep(args), 0, 0
    seeds = {entry.spec.seed for entry in sweep.entries}
    if args.only_seed is not None and args.only_seed not in seeds:
        raise UserError(f"--only-seed {args.only_seed} is not valid; give one of {sorted(seeds)}")
    require_results(args)
    for entry in sweep.entries:
        spec = entry.spec
        if spec.strategy == FULL or args.only_seed not in (None, spec.seed):
            continue
        folder = RunFolder(args.results, spec.id)
        if not folder.done or folder.diverged or find_timing_obstacle(spec, folder.result()):
            skipped += 1
            continue
        if (folder.path / FILE).exists() and not args.again:
            before += 1
        else:
            timed = retime(spec, args.results, args.seconds)["time_ratio"]
            print(
                f"{spec.label}: {timed['median']:.3f} of full training's time "
                f"[{timed['low']:.3f}, {timed['high']:.3f}]",
                flush=True,
            )
    if before:
        print(f"runs timed before: {before}; --again times them again")
    if skipped:
        print(f"runs skipped: {skipped}; {SKIPPED}")
    return 0
