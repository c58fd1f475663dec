"""`freezebench page`: all reports from the results on disk, and one HTML file of them."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from bench.commands.places import existing_results, out_argument, sweep_arguments, sweep_of

if TYPE_CHECKING:
    from pathlib import Path

    from bench.sweep import Sweep

HELP = "all tables and figures from the results on disk, and one HTML page of them"


def arguments(parser: argparse.ArgumentParser) -> None:
    sweep_arguments(parser, "*")
    out_argument(parser)


def main(args: argparse.Namespace) -> int:
    print(write_page(sweep_of(args), existing_results(args), args.out))
    return 0


def write_page(sweep: Sweep, results: Path, out: Path | None = None) -> Path:
    """Write the reports of a sweep, or of those it is made of, and their page; returns its path.

    The page of users' own sweeps alone has their name, and holds none of the paper's claims.
    out: a folder for all of it in place of results/reports.
    """
    from bench.commands.report import own_title, profile_of, wanted_of
    from bench.results import write_whole
    from reports import curves
    from reports.caption import Profile, united
    from reports.claims.report import frames_of
    from reports.claims.report import report as claims
    from reports.frame import Reader
    from reports.page.page import page
    from reports.write import BUILDERS, make_folder, write, write_documents

    name: str = sweep.profile["name"]
    parts = sweep.parts or (sweep,)
    ours = any(part.table in (*BUILDERS, "curves") for part in parts)
    folder = (out or results / "reports") / name
    path = folder / ("index.html" if ours else f"{sweep.name}.html")
    make_folder(path.parent)
    reader = Reader(results)
    shown = []
    for part in parts:
        described, wanted = profile_of(part), wanted_of(part)
        profile = Profile.of(described)
        title = own_title(part)
        if part.table == "curves":
            curves.write_curves(wanted, results, path.parent, described)
            shown.append((curves.report(reader.runs(wanted), reader, profile), profile))
        elif part.table in BUILDERS or title:
            report = write(part.table, wanted, reader, path.parent, described, title)
            shown.append((report, profile))
    held = None
    if ours:
        frames = frames_of([report for report, _ in shown], reader)
        held = claims(frames, united([profile for _, profile in shown]))
        write_documents(held, path.parent)
    write_whole(path, page(shown, held))
    return path
