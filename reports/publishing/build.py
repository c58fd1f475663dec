"""Functions that build a report by its name, and write its documents, figures and provenance."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from bench.errors import UserError
from bench.files import explain_errors, make_folder, write_atomically
from bench.options import make_unknown_error
from reports.document.csv_file import format_csv
from reports.document.latex import format_latex
from reports.document.markdown import format_markdown
from reports.document.profile import Profile
from reports.document.provenance import format_provenance
from reports.document.report import Report
from reports.document.terminal import format_text
from reports.figures.style import apply_style, save_figure
from reports.paper_figures import figure5
from reports.runs.run_table import ROLES, Reader
from reports.tables import (
    leaderboard,
    table1,
    table2,
    table3,
    table4,
    table5,
    table6,
    table7,
    table8,
    table9,
    user_sweep,
)

# Builds a report from the frame of its runs, the reader of their files, and the profile.
Builder = Callable[[pd.DataFrame, Reader, Profile], Report]
BUILDERS: Mapping[str, Builder] = {
    "table1": table1.build_report,
    "table2": table2.build_report,
    "table3": table3.build_report,
    "table4": table4.build_report,
    "table5": table5.build_report,
    "table6": table6.build_report,
    "table7": table7.build_report,
    "table8": table8.build_report,
    "table9": table9.build_report,
    "figure5": figure5.build_report,
    "leaderboard": leaderboard.build_report,
}


def build_report(
    name: str,
    wanted: Iterable[Mapping[str, Any]],
    reader: Reader,
    profile: Mapping[str, Any],
    title: str = "",
) -> Report:
    """Return the report of the wanted runs (see reports.runs.run_table) without writing files.

    name: table or figure of the paper, `leaderboard`, or the name of a user's sweep.
    reader: reader of the results folder. Reports of several tables share it, so that each result is
    read once.
    profile: values for Profile.of.
    title: title of the report, required for a user's sweep.
    Raises UserError if no report has this name, a result is damaged, or no run is wanted.
    """
    if name not in BUILDERS and not title:
        raise make_unknown_error("report", name, list(BUILDERS))
    frame = reader.read_runs(wanted)
    if frame.empty:
        raise UserError(f"{name} has no runs; check the sweep file")
    if name not in BUILDERS:
        return user_sweep.build_report(name, title, frame, Profile.of(profile))
    return BUILDERS[name](frame, reader, Profile.of(profile))


def write_report(
    name: str,
    wanted: Iterable[Mapping[str, Any]],
    results: Path | Reader,
    out: Path,
    profile: Mapping[str, Any],
    title: str = "",
) -> Report:
    """Build a report, write its files into `out`, and return it with their paths in `files`.

    results: the results folder, or a reader of this folder that several reports share.
    name, wanted, profile, title: as for `build_report`.
    Raises UserError as `build_report` does, and if `out` cannot be written.
    """
    reader = results if isinstance(results, Reader) else Reader(results)
    report = build_report(name, wanted, reader, profile, title)
    make_folder(out)
    files = [*write_documents(report, out), *_write_figures(report, out)]
    record = out / f"{name}.json"
    write_atomically(record, format_provenance(report.frame, Profile.of(profile), files, ROLES))
    return replace(report, files=[*files, record])


def write_documents(report: Report, out: Path) -> list[Path]:
    """Write the text, Markdown, CSV and LaTeX files of a report, and return their paths."""
    name = report.name
    texts = {
        f"{name}.txt": "\n".join(format_text(part) for part in report.compact),
        f"{name}.md": "\n".join(format_markdown(part) for part in report.parts),
        **{f"{stem}.csv": format_csv(table) for stem, table in report.numbers.items()},
        f"{name}.tex": "\n".join(
            format_latex(part, f"tab:{name}-{i}") for i, part in enumerate(report.parts, start=1)
        ),
    }
    for file, text in texts.items():
        write_atomically(out / file, text)
    return [out / file for file in texts]


def _write_figures(report: Report, out: Path) -> list[Path]:
    files = []
    with apply_style(), explain_errors(out):
        for drawing in report.drawings:
            files += save_figure(drawing.draw(), out / drawing.name)
    return files
