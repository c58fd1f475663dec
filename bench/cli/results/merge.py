"""`freezebench merge`: join the results of machines that share no disk."""

from __future__ import annotations

import argparse
from pathlib import Path

from bench.cli.arguments import add_results_argument

HELP = "join results from machines that share no disk; refuses what contradicts"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("sources", nargs="+", type=Path, metavar="DIR", help="results folders")
    add_results_argument(parser)


def main(args: argparse.Namespace) -> int:
    from bench.files import make_results_folder
    from bench.results.merge import merge

    make_results_folder(args.results)
    merged = merge(args.sources, args.results)
    print(
        f"{len(merged.copied)} runs copied into {args.results}, {len(merged.same)} were there "
        f"already, {len(merged.unfinished)} are not done and were left"
    )
    return 0
