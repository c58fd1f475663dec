"""`freezebench retime`: a sweep's times, rebuilt from steps timed in turns with full training."""

from __future__ import annotations

import argparse

from bench.cli.arguments import add_sweep_arguments, resolve_sweep
from bench.errors import UserError

HELP = "rebuild finished runs' times from steps timed in turns with full training"
LEFT_OUT = "not done, diverged, or with cache_prefix, compiled or replicas"


def arguments(parser: argparse.ArgumentParser) -> None:
    add_sweep_arguments(parser)
    parser.add_argument("--seconds", type=float, default=20.0, help="time for each run")
    parser.add_argument("--only-seed", type=int, default=None, help="runs of one seed only")
    parser.add_argument("--again", action="store_true", help="also runs that were timed before")


def main(args: argparse.Namespace) -> int:
    from bench.perf.replay import FILE, find_timing_obstacle, retime
    from bench.results.run_folder import RunFolder
    from bench.spec import FULL

    if not args.seconds > 0:
        raise UserError(f"--seconds {args.seconds} is not valid; give a number above 0")
    sweep, skipped = resolve_sweep(args), 0
    for entry in sweep.entries:
        spec = entry.spec
        if spec.strategy == FULL or args.only_seed not in (None, spec.seed):
            continue
        folder = RunFolder(args.results, spec.id)
        if not folder.done or folder.diverged or find_timing_obstacle(spec):
            skipped += 1
            continue
        if args.again or not (folder.path / FILE).exists():
            told = retime(spec, args.results, args.seconds)["time_ratio"]
            print(
                f"{spec.label}: {told['median']:.3f} of full training's time "
                f"[{told['low']:.3f}, {told['high']:.3f}]",
                flush=True,
            )
    if skipped:
        print(f"{skipped} runs left out: {LEFT_OUT}")
    return 0
