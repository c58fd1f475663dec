"""Reports and pages of a sweep: which runs they show and how their profile is described."""

from __future__ import annotations

import json
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.files import make_folder, write_atomically
from bench.strategy_api.registry import load_strategy_class
from reports.claims.report import build_report as claims
from reports.claims.report import collect_frames
from reports.document.profile import Profile, merge_profiles
from reports.page.page import render_page
from reports.paper_figures import figures3_4
from reports.publishing.build import BUILDERS, write, write_documents
from reports.runs.run_table import Reader

if TYPE_CHECKING:
    from bench.planning.sweep import Sweep
    from bench.spec import Spec

PAPERS_FEATURES, PAPERS_LIMIT = "raw", 0.5  # SmartFRZ's, Section 3.3 of its paper


def write_reports(sweep: Sweep, results: Path, out: Path | None = None) -> None:
    """Write the reports of a sweep, or of those it is made of, and print their texts.

    out: a folder for them in place of results/reports.
    """
    reader = Reader(results)
    for part in sweep.parts or (sweep,):
        _write(part, reader, (out or results / "reports") / part.profile["name"])


def _write(sweep: Sweep, reader: Reader, out: Path) -> None:
    """Write what belongs to a sweep into a folder and print its text."""
    title = make_title(sweep)
    results = reader.results
    if sweep.table == "curves":
        files = figures3_4.write_curves(
            list_shown_runs(sweep), results, out, describe_profile(sweep)
        )
    elif sweep.table in BUILDERS or title:
        files = write(
            sweep.table, list_shown_runs(sweep), reader, out, describe_profile(sweep), title
        ).files
    else:
        print(f"sweep {sweep.name} has no report of its own; its runs lie in {results / 'runs'}")
        return
    print(files[0].read_text())
    print(f"{len(files)} files in {out}", file=sys.stderr)


def write_page(sweep: Sweep, results: Path, out: Path | None = None) -> Path:
    """Write the reports of a sweep, or of those it is made of, and their page; returns its path.

    The page of users' own sweeps alone has their name, and holds none of the paper's claims.
    out: a folder for all of it in place of results/reports.
    """
    name: str = sweep.profile["name"]
    parts = sweep.parts or (sweep,)
    ours = any(part.table in (*BUILDERS, "curves") for part in parts)
    folder = (out or results / "reports") / name
    path = folder / ("index.html" if ours else f"{sweep.name}.html")
    make_folder(path.parent)
    reader = Reader(results)
    shown = []
    for part in parts:
        described, wanted = describe_profile(part), list_shown_runs(part)
        profile = Profile.of(described)
        title = make_title(part)
        if part.table == "curves":
            figures3_4.write_curves(wanted, results, path.parent, described)
            shown.append((figures3_4.build_report(reader.runs(wanted), reader, profile), profile))
        elif part.table in BUILDERS or title:
            report = write(part.table, wanted, reader, path.parent, described, title)
            shown.append((report, profile))
    held = None
    if ours:
        frames = collect_frames([report for report, _ in shown], reader)
        held = claims(frames, merge_profiles([profile for _, profile in shown]))
        write_documents(held, path.parent)
    write_atomically(path, render_page(shown, held))
    return path


def make_title(sweep: Sweep) -> str:
    """The title of the report of a sweep that compares methods with full training, else ''."""
    methods = {e.roles["method"] for e in sweep.entries}
    return sweep.title if "full" in methods and len(methods) > 1 else ""


def list_shown_runs(sweep: Sweep) -> list[dict[str, Any]]:
    """The runs that a report shows, as reports.runs.run_table wants them.

    match: the method whose cost a run was given; "" for none.
    """
    # One run may have two names; the first is taken.
    methods = {e.spec.id: e.roles.get("method", "") for e in reversed(sweep.entries)}
    return [
        {
            "id": e.spec.id,
            "cell": e.spec.cell,
            "seed": e.spec.seed,
            "match": methods.get(e.spec.match[0], "") if e.spec.match else "",
            "reference": e.spec.reference.removeprefix("run:"),
            "options": _collect_options(e.spec),
            **e.roles,
        }
        for e in sweep.entries
    ]


def _collect_options(spec: Spec) -> dict[str, Any]:
    """All of a strategy's options, those at their default too."""
    declared = load_strategy_class(spec.strategy, spec.paths.get("strategy", "")).options
    return {key: spec.options.get(key, option.default) for key, option in declared.items()}


def describe_profile(sweep: Sweep) -> dict[str, Any]:
    """What a report says of the profile (see reports.document.profile.Profile)."""
    shown = {e.roles[axis] for e in sweep.entries for axis in ("model", "dataset")}
    roles = {**sweep.profile["models"], **sweep.profile["datasets"]}
    used = {role: v.get("model", v.get("data")) for role, v in roles.items() if role in shown}
    return {
        "name": sweep.profile["name"],
        "stands_for": used,
        "device": sweep.profile["run"]["device"],
        "predictor": sweep.predictor,
        "sources": _list_sources(sweep),
        "departures": _describe_departures(sweep),
        "changes": dict(sweep.changes),
        "asked": sweep.asked,
    }


def _list_sources(sweep: Sweep) -> list[str]:
    """The data that the predictors in use were trained on, as their files say."""
    specs = [e.spec for e in sweep.entries if "predictor" in e.spec.contents]
    paths = {spec.paths["predictor"] for spec in specs}
    return sorted({data for path in paths for data in _read_provenance(path).get("data", [])})


def _describe_departures(sweep: Sweep) -> str:
    """In what SmartFRZ, as these runs have it, is not the paper's; "" if it is or is not here."""
    used = [
        (e.spec, _collect_options(e.spec)) for e in sweep.entries if e.spec.strategy == "smartfrz"
    ]
    limits: dict[str, float] = {}
    for spec, options in used:
        path = spec.paths.get("predictor", "")
        calibrated = _read_provenance(path).get("threshold", PAPERS_LIMIT)
        limits[Path(path).stem] = options["threshold"] or calibrated
    features = sorted({o["features"] for _, o in used} - {PAPERS_FEATURES})
    warmups = sorted({o["warmup"] for _, o in used} - {0})
    words = []
    if features:
        words.append(f"its tokens hold {' or '.join(features)} in place of the weights")
    if set(limits.values()) - {PAPERS_LIMIT}:
        each = [f"{limit:g}" for limit in dict.fromkeys(limits.values())]
        if len(each) > 1:
            each = [f"{limit:g} ({name})" for name, limit in limits.items()]
        words.append(f"it freezes at P ≥ {', '.join(each)}, calibrated, in place of the argmax")
    if warmups:
        words.append(f"not before epoch {' or '.join(f'{warmup:g}' for warmup in warmups)}")
    return f"SmartFRZ departs from its paper: {'; '.join(words)} (docs/predictor.md)." * bool(words)


@cache
def _read_provenance(path: str) -> dict[str, Any]:
    """What a predictor's file says of its making; nothing where it is another strategy's."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            told: dict[str, Any] = json.loads((file.metadata() or {}).get("provenance", "{}"))
    except (SafetensorError, OSError):
        return {}
    return told
