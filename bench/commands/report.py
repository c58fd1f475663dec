"""`freezebench report`: a sweep's tables and figures from the results on disk."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
    from reports.write import BUILDERS, write

    out = results / "reports" / sweep.profile["name"]
    if sweep.table in BUILDERS:
        files = write(sweep.table, wanted_of(sweep), results, out, profile_of(sweep)).files
    elif sweep.table == "curves":
        files = write_curves(wanted_of(sweep), results, out, profile_of(sweep))
    else:
        print(f"sweep {sweep.name} has no report of its own; its runs lie in {results / 'runs'}")
        return
    print(files[0].read_text())
    print(f"{len(files)} files in {out}", file=sys.stderr)


def wanted_of(sweep: Sweep) -> list[dict[str, Any]]:
    """The runs that a report shows, as reports.frame wants them."""
    return [
        {
            "id": e.spec.id,
            "cell": e.spec.cell,
            "seed": e.spec.seed,
            "reference": e.spec.reference.removeprefix("run:"),
            **e.roles,
        }
        for e in sweep.entries
    ]


def profile_of(sweep: Sweep) -> dict[str, Any]:
    """What a report says of the profile (see reports.caption.Profile)."""
    roles = {**sweep.profile["models"], **sweep.profile["datasets"]}
    return {
        "name": sweep.profile["name"],
        "stands_for": {role: v.get("model", v.get("data")) for role, v in roles.items()},
        "device": sweep.profile["run"]["device"],
        "predictor": sweep.predictor,
    }
