"""`freezebench report`: a sweep's tables and figures from the results on disk."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from bench.commands.places import sweep_arguments, sweep_of

if TYPE_CHECKING:
    from bench.sweep import Sweep

HELP = "a sweep's tables and figures from the results on disk"


def arguments(parser: argparse.ArgumentParser) -> None:
    sweep_arguments(parser)


def main(args: argparse.Namespace) -> int:
    write_report(sweep_of(args), args.results)
    return 0


def write_report(sweep: Sweep, results: Path) -> None:
    """Write what belongs to a sweep below results/reports and print its text."""
    from reports.curves import write_curves
    from reports.report import write_table2

    writers = {"table2": write_table2, "curves": write_curves}
    if sweep.table not in writers:
        print(f"sweep {sweep.name} has no report of its own; its runs lie in {results / 'runs'}")
        return
    wanted = [
        {"id": e.spec.id, "cell": e.spec.cell, "seed": e.spec.seed, **e.roles}
        for e in sweep.entries
    ]
    roles = {**sweep.profile["models"], **sweep.profile["datasets"]}
    profile = {
        "name": sweep.profile["name"],
        "stands_for": {role: v.get("model", v.get("data")) for role, v in roles.items()},
        "device": sweep.profile["run"]["device"],
        "predictor": sweep.predictor,
    }
    out = results / "reports" / sweep.profile["name"]
    files = writers[sweep.table](wanted, results, out, profile)
    print(files[0].read_text())
    print(f"{len(files)} files in {out}", file=sys.stderr)
