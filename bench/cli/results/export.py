"""`freezebench export`: all results as two tidy tables, or all finished runs in compact form."""

from __future__ import annotations

import argparse

from bench.cli.argument_types import parse_path
from bench.cli.arguments import add_results_argument, require_results
from bench.errors import UserError

HELP = "write all results as two tables, or finished runs without weights (--format compact)"
EXAMPLE = "freezebench export tables --format csv"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "out",
        nargs="?",
        type=parse_path,
        metavar="DIR",
        help="output folder (default: RESULTS/export)",
    )
    parser.add_argument(
        "--format",
        choices=("parquet", "csv", "compact"),
        default="parquet",
        help="parquet, csv: one table of runs and one of decisions; compact: one small file for "
        "each finished run, without weights, which `freezebench merge` reads",
    )
    add_results_argument(parser)


def main(args: argparse.Namespace) -> int:
    if args.format == "compact":
        return _write_compact(args)
    from reports.runs.export import read_results
    from reports.runs.export_files import write_results

    results = read_results(require_results(args))
    out = args.out or args.results / "export"
    for path, frame in zip(
        write_results(results, out, args.format), (results.runs, results.decisions), strict=True
    ):
        print(f"{path}: {len(frame)} row{'s' * (len(frame) != 1)}")
    return 0


def _write_compact(args: argparse.Namespace) -> int:
    """Write the finished runs in compact form. Return the exit status."""
    from bench.results.compact_form import write_compact_runs

    out = args.out or args.results / "export"
    outcome = write_compact_runs(require_results(args), out)
    count = len(outcome.written)
    if not count and not outcome.left_out:
        raise UserError(
            f"{args.results}: there is no finished run in its folder `runs`; check the path"
        )
    print(f"{out}: {count} run{'s' * (count != 1)}")
    if outcome.left_out:
        print(
            "left out, because the recording (trace.safetensors) contains weights: "
            f"{', '.join(outcome.left_out)}; to move such a run, copy its folder"
        )
    return 0
