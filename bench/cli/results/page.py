"""`freezebench page`: all reports from the results on disk, and one HTML file of them."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from bench.cli.arguments import existing_results, out_argument, sweep_arguments, sweep_of
from reports.publishing.from_sweep import write_page

if TYPE_CHECKING:
    from pathlib import Path

    from bench.planning.sweep import Sweep

HELP = "all tables and figures from the results on disk, and one HTML page of them"


def arguments(parser: argparse.ArgumentParser) -> None:
    sweep_arguments(parser, "*")
    out_argument(parser)


def main(args: argparse.Namespace) -> int:
    print(write_page(sweep_of(args), existing_results(args), args.out))
    return 0


