"""Reports and pages of a sweep: the runs that they show, and the description of the profile."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.files import make_folder, write_atomically
from bench.models.kinds import find_kind
from bench.planning.sweep_files import list_tables
from bench.spec import FIELDS, FULL
from bench.strategy_api.registry import load_strategy_class
from reports.claims.report import build_claims_report, collect_frames
from reports.document.profile import Profile, merge_profiles
from reports.document.report import Report
from reports.page.page import render_page
from reports.paper_figures import figures3_4
from reports.publishing.build import BUILDERS, write_documents, write_report
from reports.publishing.departures import describe_departures, list_sources
from reports.runs.run_table import Reader

if TYPE_CHECKING:
    from bench.planning.sweep import Sweep
    from bench.spec import Spec

CURVES = "curves"  # sweep of Figures 3 and 4


def write_reports(sweep: Sweep, results: Path, out: Path | None = None) -> None:
    """Write the report of a sweep, or of each of its parts, and print the text of each report.

    The files are in a folder that is named after the profile.
    out: folder that contains this folder. None means results/reports.
    """
    reader = Reader(results)
    for part in sweep.parts or (sweep,):
        folder = (out or results / "reports") / part.profile["name"]
        if has_report(part):
            _, files = _write_part(part, describe_profile(part), reader, folder)
            print(files[0].read_text())
            print(f"{len(files)} files in {folder}", file=sys.stderr)
        else:
            print(
                f"sweep {part.name} has no report, because it does not compare full training "
                f"(`full`) with another method; its runs are in {results / 'runs'}"
            )


def write_page(sweep: Sweep, results: Path, out: Path | None = None) -> Path:
    """Write the reports of a sweep or of its parts, and an HTML page that shows them.

    Returns the path of the page. A page with none of the paper's tables and figures is named after
    the sweep and has no section on the paper's claims. All files are in a folder that is named
    after the profile.
    out: folder that contains this folder. None means results/reports.
    """
    name: str = sweep.profile["name"]
    parts = sweep.parts or (sweep,)
    ours = any(part.table in list_tables() for part in parts)
    folder = (out or results / "reports") / name
    path = folder / ("index.html" if ours else f"{sweep.name}.html")
    make_folder(path.parent)
    reader = Reader(results)
    shown = []
    for part in filter(has_report, parts):
        profile = describe_profile(part)
        report, _ = _write_part(part, profile, reader, folder)
        shown.append((report, Profile.of(profile)))
    claims = None
    if ours:
        frames = collect_frames([report for report, _ in shown], reader)
        claims = build_claims_report(frames, merge_profiles([profile for _, profile in shown]))
        write_documents(claims, path.parent)
    write_atomically(path, render_page(shown, claims))
    return path


def _write_part(
    sweep: Sweep, profile: dict[str, Any], reader: Reader, out: Path
) -> tuple[Report, list[Path]]:
    """Write the files of a sweep that has a report. Return the report and the files.

    profile: the result of `describe_profile`.
    """
    wanted = list_shown_runs(sweep)
    if sweep.table == CURVES:  # has files of its own form, and only a page shows it as a report
        files = figures3_4.write_curves(wanted, reader.results, out, profile)
        frame = reader.read_runs(wanted)
        return figures3_4.build_report(frame, reader, Profile.of(profile)), files
    report = write_report(sweep.table, wanted, reader, out, profile, sweep.title)
    return report, report.files


def has_report(sweep: Sweep) -> bool:
    """Return whether a sweep has a report.

    The tables and figures of the paper and the leaderboard have one. Any other sweep has one if it
    compares methods with full training.
    """
    methods = {e.roles["method"] for e in sweep.entries}
    compares = FULL in methods and len(methods) > 1
    return sweep.table == CURVES or sweep.table in BUILDERS or compares


def list_shown_runs(sweep: Sweep) -> list[dict[str, Any]]:
    """Return the runs that a report shows, in the form that reports.runs.run_table reads.

    The value of `match` is the method whose cost is the budget of a matched run. For other runs it
    is "".
    """
    # A run can have two method names. reversed() makes the first one win.
    methods = {e.spec.id: e.roles.get("method", "") for e in reversed(sweep.entries)}
    return [
        {
            "id": e.spec.id,
            "cell": e.spec.cell,
            "seed": e.spec.seed,
            "evaluate_on": e.spec.evaluate_on,
            "match": methods.get(e.spec.match[0], "") if e.spec.match else "",
            "reference": e.spec.reference.removeprefix("run:"),
            "strategy": e.spec.strategy_name,
            "kind": find_kind(e.spec.model),
            "options": _collect_options(e.spec),
            **e.roles,
        }
        for e in sweep.entries
    ]


def _collect_options(spec: Spec) -> dict[str, Any]:
    """Return all options of a run's strategy, including options at their default value."""
    declared = load_strategy_class(spec.strategy, spec.paths.get("strategy", "")).options
    return {key: spec.options.get(key, option.default) for key, option in declared.items()}


def describe_profile(sweep: Sweep) -> dict[str, Any]:
    """Return a mapping that describes the profile of a sweep, with values for Profile.of."""
    specs = [e.spec for e in sweep.entries]
    smartfrz = [(spec, _collect_options(spec)) for spec in specs if spec.strategy == "smartfrz"]
    return {
        "name": sweep.profile["name"],
        "stands_for": sweep.names,
        "device": sweep.profile["run"].get("device", FIELDS["device"].default),
        "predictor": sweep.predictor,
        "sources": list_sources(specs),
        "departures": describe_departures(smartfrz),
        "changes": dict(sweep.changes),
        "remark": sweep.profile.get("remark", ""),
        "asked": sweep.asked,
    }
