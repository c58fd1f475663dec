"""Puts reports into one HTML file: nothing is loaded when it is opened, and it holds no script
that changes a number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from bench.machine.environment import commit
from reports.document.profile import Profile, united
from reports.document.provenance import LIBRARIES, command
from reports.document.report import Drawing, Report
from reports.page.html_table import Grid, grid
from reports.page.inline_svg import inlined
from reports.page.run_details import Dossier, Dossiers
from reports.page.summary import Answer, answer
from reports.runs.run_table import DONE

HERE = Path(__file__).parent
TABLES = tuple(f"table{number}" for number in range(1, 10))
SUMMARISED = "table2"  # the table that answers the reader's first question


@dataclass(frozen=True)
class Figure:
    """A figure with its caption; `svg` is None where no run is finished."""

    anchor: str
    title: str
    note: str
    svg: Markup | None


@dataclass(frozen=True)
class Section:
    """A report as a page shows it."""

    name: str
    label: str  # in the table of contents
    title: str
    done: int
    wanted: int
    grids: Sequence[Grid]
    figures: Sequence[Figure]
    dossiers: Sequence[Dossier]
    commits: Sequence[str]
    devices: Sequence[str]
    made_by: str


@dataclass(frozen=True)
class Origin:
    """How the page was made."""

    command: str
    commit: str
    when: str
    libraries: Sequence[tuple[str, str]] = field(default_factory=list)


def page(shown: Sequence[tuple[Report, Profile]], claims: Report | None = None) -> str:
    """The page's text: reports in the order they are shown in, each with what its profile says of
    it; claims stand after them.
    """
    profile = united([profile for _, profile in shown])
    sections = [_section(report, its) for report, its in shown]
    reports = [report for report, _ in shown]
    runs = {run["id"]: run["state"] for one in reports for run in one.frame.to_dict("records")}
    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    return environment.get_template("page.html").render(
        profile=profile,
        sections=sections,
        claims=_section(claims, profile) if claims else None,
        answer=_answer(reports),
        done=sum(state == DONE for state in runs.values()),
        wanted=len(runs),
        devices=sorted({device for section in sections for device in section.devices}),
        origin=_origin(),
        style=_text("page.css"),
        script=_text("page.js"),
    )


def _section(report: Report, profile: Profile) -> Section:
    """Put one report into words; its figures are drawn only where there is something to draw."""
    dossiers, frame = Dossiers(report, profile), report.frame
    done = int((frame.state == DONE).sum()) if len(frame) else 0
    return Section(
        report.name,
        _label(report),
        report.title,
        done,
        len(frame),
        [grid(part, f"{report.name}-{i}", dossiers) for i, part in enumerate(report.parts, 1)],
        [
            Figure(
                drawing.name, drawing.title, drawing.note, _svg(drawing, report) if done else None
            )
            for drawing in report.drawings
        ],
        dossiers.all,
        sorted({text[:12] for text in frame.commit if text}) if len(frame) else [],
        sorted({text for text in frame.device if text}) if len(frame) else [],
        f"freezebench sweep {profile.asked}" if profile.asked else "",
    )


def _svg(drawing: Drawing, report: Report) -> Markup:
    """The drawing as its file just written has it, or drawn now if it was not written."""
    file = next((f for f in report.files if f.name == f"{drawing.name}.svg"), None)
    return inlined(drawing, file.read_text() if file else None)


def _label(report: Report) -> str:
    """table2 as "Table 2"; other reports by the start of their title."""
    if report.name in TABLES:
        return f"Table {report.name.removeprefix('table')}"
    return report.title.split(":")[0]


def _answer(reports: Sequence[Report]) -> Answer | None:
    frames = [report.frame for report in reports if report.name == SUMMARISED]
    return answer(frames[0]) if frames else None


def _origin() -> Origin:
    return Origin(
        command(),
        commit(),
        datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        [(name, version(name)) for name in LIBRARIES],
    )


def _text(name: str) -> Markup:
    """One of our own files, as it is."""
    return Markup((HERE / name).read_text())
