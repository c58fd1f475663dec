"""`freezebench report`: a sweep's tables and figures from the results on disk."""

from __future__ import annotations

import argparse
import json
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.cli.arguments import require_results, add_out_argument, add_sweep_arguments, resolve_sweep
from reports.publishing.from_sweep import write_reports

if TYPE_CHECKING:
    from bench.spec import Spec
    from bench.planning.sweep import Sweep
    from reports.runs.run_table import Reader


HELP = "the tables and figures of sweeps, from the results on disk"


def arguments(parser: argparse.ArgumentParser) -> None:
    add_sweep_arguments(parser, "*")
    add_out_argument(parser)


def main(args: argparse.Namespace) -> int:
    write_reports(resolve_sweep(args), require_results(args), args.out)
    return 0


















