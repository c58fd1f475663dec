"""`freezebench report`: tables and figures of sweeps from the results on disk."""

from __future__ import annotations

import argparse

from bench.cli.arguments import add_out_argument, require_results
from bench.cli.sweep_arguments import add_sweep_arguments, resolve_sweep

HELP = "write the tables and figures of sweeps, from the results on disk"
EXAMPLE = "freezebench report table2 --controls"


def arguments(parser: argparse.ArgumentParser) -> None:
    add_sweep_arguments(parser, "*")
    add_out_argument(parser)


def main(args: argparse.Namespace) -> int:
    from reports.publishing.from_sweep import write_reports

    write_reports(resolve_sweep(args), require_results(args), args.out)
    return 0
