"""`freezebench page`: all reports from the results on disk, and one HTML file of them."""

from __future__ import annotations

import argparse

from bench.cli.arguments import (
    add_out_argument,
    add_sweep_arguments,
    require_results,
    resolve_sweep,
)

HELP = "all tables and figures from the results on disk, and one HTML page of them"


def arguments(parser: argparse.ArgumentParser) -> None:
    add_sweep_arguments(parser, "*")
    add_out_argument(parser)


def main(args: argparse.Namespace) -> int:
    from reports.publishing.from_sweep import write_page

    print(write_page(resolve_sweep(args), require_results(args), args.out))
    return 0
