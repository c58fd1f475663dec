"""`freezebench merge`: copy results from other folders into one."""

from __future__ import annotations

import argparse

from bench.cli.argument_types import parse_path
from bench.cli.arguments import add_results_argument

HELP = "copy the runs of other results folders into one; contradicting results are refused"
EXAMPLE = "freezebench merge /mnt/a/results /mnt/b/results --results results"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "sources", nargs="+", type=parse_path, metavar="DIR", help="results folders to copy from"
    )
    parser.add_argument(
        "--keep-first",
        action="store_true",
        help="if a run has different results, for example from two kinds of processor, keep those "
        "in RESULTS, or else those in the first DIR (default: refuse)",
    )
    add_results_argument(parser)


def main(args: argparse.Namespace) -> int:
    from bench.files import make_results_folder
    from bench.results.merge import merge

    make_results_folder(args.results)
    merged = merge(args.sources, args.results, keep_first=args.keep_first)
    print(
        f"runs copied into {args.results}: {len(merged.copied)}; already there: "
        f"{len(merged.same)}; skipped because they are not finished: {len(merged.unfinished)}"
    )
    if merged.differing:
        print(
            f"runs with different results, of which the first was kept: {len(merged.differing)} "
            f"({', '.join(merged.differing[:3])}{', …' * (len(merged.differing) > 3)})"
        )
    return 0
