"""`freezebench page`: one HTML page of the results on disk."""

from __future__ import annotations

import argparse

from bench.cli.arguments import add_out_argument, require_results
from bench.cli.sweep_arguments import add_sweep_arguments, resolve_sweep

HELP = "write the reports of sweeps and one HTML page of them, from the results on disk"
EXAMPLE = "freezebench page table2 table4"


def arguments(parser: argparse.ArgumentParser) -> None:
    add_sweep_arguments(parser, "*")
    add_out_argument(parser)


def main(args: argparse.Namespace) -> int:
    from reports.publishing.from_sweep import write_page

    print(write_page(resolve_sweep(args), require_results(args), args.out))
    return 0
