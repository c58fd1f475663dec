"""Rendering of reports into one self-contained HTML file.

The file loads nothing from the network. Its script changes no number. The only numbers that the
script computes are the differences between two cells that the reader selects.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from scipy.special import stdtrit  # importing scipy.stats takes a second

from bench.machine.environment import get_commit
from reports.document.profile import Profile, merge_profiles
from reports.document.provenance import LIBRARIES, get_command
from reports.document.report import Drawing, Report
from reports.page.html_table import HtmlTable, build_html_table
from reports.page.inline_svg import inline_svg
from reports.page.run_details import AXES, DetailsByRow, RunDetails
from reports.page.run_history import BINS, RunHistory, build_run_history
from reports.page.summary import Summary, build_summary
from reports.runs.run_table import DONE, ROLES
from reports.statistics import LEVEL

TEMPLATE = Path(__file__).parent / "template"
TABLES = tuple(f"table{number}" for number in range(1, 10))
SUMMARISED = "table2"  # the table on which the summary of the page is based
SCRIPTS = ("tables.js", "filters.js", "dialogs.js", "compare.js", "screen.js")


@dataclass(frozen=True)
class PageFigure:
    """Figure with its caption. `svg` is None if no run is finished."""

    anchor: str
    title: str
    note: str
    svg: Markup | None


@dataclass(frozen=True)
class Section:
    """Section of the page, which shows one report."""

    name: str
    label: str  # entry in the table of contents
    title: str
    done: int
    wanted: int
    grids: Sequence[HtmlTable]
    figures: Sequence[PageFigure]
    details: Sequence[RunDetails]
    commits: Sequence[str]
    devices: Sequence[str]
    made_by: str


@dataclass(frozen=True)
class PageOrigin:
    """Provenance of the page: command, commit, time of creation and library versions."""

    command: str
    commit: str
    when: str
    libraries: Sequence[tuple[str, str]] = field(default_factory=list)


def render_page(shown: Sequence[tuple[Report, Profile]], claims: Report | None = None) -> str:
    """Return the page as HTML.

    shown: the reports with their profiles, in the order of the page.
    claims: report on the claims of the paper. Its section follows all other reports.
    """
    profile = merge_profiles([profile for _, profile in shown])
    sections = [_build_section(report, its) for report, its in shown]
    reports = [report for report, _ in shown]
    runs = {
        run["id"]: (run, its) for report, its in shown for run in report.frame.to_dict("records")
    }
    cells = [cell for section in sections for cell in section.details]
    environment = Environment(
        loader=FileSystemLoader(TEMPLATE), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    return environment.get_template("page.html").render(
        profile=profile,
        sections=sections,
        claims=_build_section(claims, profile) if claims else None,
        summary=_find_summary(reports),
        done=sum(run["state"] == DONE for run, _ in runs.values()),
        wanted=len(runs),
        histories=[found for run, its in runs.values() if (found := _build_history(run, its))],
        bins=BINS,
        axes={axis: list(dict.fromkeys(cell.scope[axis] for cell in cells)) for axis in AXES},
        quantiles=_list_t_quantiles(cells),
        devices=sorted({device for section in sections for device in section.devices}),
        origin=_describe_origin(),
        style=_read_text("page.css"),
        script=Markup("\n").join(_read_text(name) for name in SCRIPTS),
    )


def _build_section(report: Report, profile: Profile) -> Section:
    """Return a report as a section. Its figures are drawn only if a run is finished."""
    details, frame = DetailsByRow(report, profile), report.frame
    done = int((frame.state == DONE).sum()) if len(frame) else 0
    return Section(
        report.name,
        _format_label(report),
        report.title,
        done,
        len(frame),
        [
            build_html_table(part, f"{report.name}-{i}", details)
            for i, part in enumerate(report.parts, 1)
        ],
        [
            PageFigure(
                drawing.name,
                drawing.title,
                drawing.note,
                _load_svg(drawing, report) if done else None,
            )
            for drawing in report.drawings
        ],
        details.all,
        sorted({text[:12] for text in frame.commit if text}) if len(frame) else [],
        sorted({text for text in frame.device if text}) if len(frame) else [],
        f"freezebench sweep {profile.asked}" if profile.asked else "",
    )


def _load_svg(drawing: Drawing, report: Report) -> Markup:
    """Return a drawing as SVG, from the file just written. Without a file, render the drawing."""
    file = next((f for f in report.files if f.name == f"{drawing.name}.svg"), None)
    return inline_svg(drawing, file.read_text() if file else None)


def _format_label(report: Report) -> str:
    """Return "Table 2" for table2. For other reports, return the title up to its first colon."""
    if report.name in TABLES:
        return f"Table {report.name.removeprefix('table')}"
    return report.title.split(":")[0]


def _find_summary(reports: Sequence[Report]) -> Summary | None:
    frames = [report.frame for report in reports if report.name == SUMMARISED]
    return build_summary(frames[0]) if frames else None


def _build_history(run: Mapping[Any, Any], profile: Profile) -> RunHistory | None:
    """Return the freeze history of a run, a row of a data frame; None if it is not finished."""
    names = [profile.format_name(str(run[role])) for role in ROLES]
    return build_run_history(run, dict(zip(AXES, names, strict=True)))


def _list_t_quantiles(cells: Sequence[RunDetails]) -> list[float]:
    """Return quantiles of Student's t for 1, 2, … degrees of freedom.

    The list ends at the largest number of seeds minus 1. The distance from the mean to each end of
    a t interval is the quantile times the standard error.
    """
    most = max((len(cell.runs) for cell in cells), default=0)
    return [round(float(stdtrit(df, (1 + LEVEL) / 2)), 4) for df in range(1, most)]


def _describe_origin() -> PageOrigin:
    return PageOrigin(
        get_command(),
        get_commit(),
        datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        [(name, version(name)) for name in LIBRARIES],
    )


def _read_text(name: str) -> Markup:
    """Return the text of a file of the template, without HTML escaping."""
    return Markup((TEMPLATE / name).read_text())
