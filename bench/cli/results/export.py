"""`freezebench export`: all results as two tidy tables."""

from __future__ import annotations

import argparse
from pathlib import Path

from bench.cli.arguments import add_results_argument, require_results

HELP = "write all results as two tables, one of runs and one of decisions"
EXAMPLE = "freezebench export tables --format csv"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "out",
        nargs="?",
        type=Path,
        metavar="DIR",
        help="output folder (default: RESULTS/export)",
    )
    parser.add_argument(
        "--format", choices=("parquet", "csv"), default="parquet", help="format of the files"
    )
    add_results_argument(parser)


def main(args: argparse.Namespace) -> int:
    from reports.runs.export import read_results
    from reports.runs.export_files import write_results

    results = read_results(require_results(args))
    out = args.out or args.results / "export"
    for path, frame in zip(
        write_results(results, out, args.format), (results.runs, results.decisions), strict=True
    ):
        print(f"{path}: {len(frame)} rows")
    return 0
