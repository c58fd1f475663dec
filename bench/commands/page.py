"""`freezebench page`: all tables and figures from the results on disk, in one HTML file."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from bench.commands.places import setting_arguments, sweep_of

if TYPE_CHECKING:
    from reports.report import Report

HELP = "one HTML page of all tables and figures, from the results on disk"


def arguments(parser: argparse.ArgumentParser) -> None:
    setting_arguments(parser)


def main(args: argparse.Namespace) -> int:
    from bench.commands.report import profile_of, wanted_of
    from bench.results import write_whole
    from bench.sweep import sweep_names
    from reports.caption import Profile
    from reports.frame import Reader
    from reports.page.page import ORDER, page
    from reports.write import BUILDERS, build, make_folder

    reader = Reader(args.results)
    reports: list[Report] = []
    described: dict[str, Any] = {}
    for name in ORDER:
        if name in BUILDERS and name in sweep_names():
            sweep = sweep_of(argparse.Namespace(**{**vars(args), "sweep": name}))
            described = profile_of(sweep) | {
                "predictor": sweep.predictor or described.get("predictor", "")
            }
            reports.append(build(name, wanted_of(sweep), reader, described))
    profile = Profile.of(described)
    path = args.results / "reports" / profile.name / "index.html"
    make_folder(path.parent)
    write_whole(path, page(reports, profile))
    print(path)
    return 0
