"""Reports and pages of a sweep: the runs that they show, and the description of the profile."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.files import get_utf8_path, make_folder, write_atomically
from bench.models.kinds import find_kind
from bench.planning.sweep_files import list_tables
from bench.spec import FIELDS
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

PUBLISHED_ROW = "The row smartfrz (as published)"
PAPERS_FEATURES, PAPERS_LIMIT = "raw", 0.5  # SmartFRZ paper, Section 3.3
PAPERS_PARAMETERS = 1_037_122  # computed from the layer sizes that the paper gives


def write_reports(sweep: Sweep, results: Path, out: Path | None = None) -> None:
    """Write the report of a sweep, or of each of its parts, and print the text of each report.

    The files are in a folder that is named after the profile. out: folder that contains this
    folder. None means results/reports.
    """
    reader = Reader(results)
    for part in sweep.parts or (sweep,):
        _write(part, reader, (out or results / "reports") / part.profile["name"])


def _write(sweep: Sweep, reader: Reader, out: Path) -> None:
    """Write the report of one sweep into a folder and print its text."""
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
        print(
            f"sweep {sweep.name} has no report, because it does not compare full training (`full`) "
            f"with another method; its runs are in {results / 'runs'}"
        )
        return
    print(files[0].read_text())
    print(f"{len(files)} files in {out}", file=sys.stderr)


def write_page(sweep: Sweep, results: Path, out: Path | None = None) -> Path:
    """Write the reports of a sweep or of its parts, and an HTML page that shows them.

    Returns the path of the page. A page with none of the paper's tables and figures is named after
    the sweep and has no section on the paper's claims. All files are in a folder that is named
    after the profile. out: folder that contains this folder. None means results/reports.
    """
    name: str = sweep.profile["name"]
    parts = sweep.parts or (sweep,)
    ours = any(part.table in list_tables() for part in parts)
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
            shown.append(
                (figures3_4.build_report(reader.read_runs(wanted), reader, profile), profile)
            )
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
    """Return the sweep's title if it compares methods with full training, otherwise ''."""
    methods = {e.roles["method"] for e in sweep.entries}
    return sweep.title if "full" in methods and len(methods) > 1 else ""


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
    return {
        "name": sweep.profile["name"],
        "stands_for": sweep.names,
        "device": sweep.profile["run"].get("device", FIELDS["device"].default),
        "predictor": sweep.predictor,
        "sources": _list_sources(sweep),
        "departures": _describe_departures(sweep),
        "changes": dict(sweep.changes),
        "remark": sweep.profile.get("remark", ""),
        "asked": sweep.asked,
    }


def _list_sources(sweep: Sweep) -> list[str]:
    """Return the data on which the predictors of the sweep were trained, from their files."""
    specs = [e.spec for e in sweep.entries if "predictor" in e.spec.contents]
    paths = {spec.paths["predictor"] for spec in specs}
    return sorted({data for path in paths for data in _read_provenance(path).get("data", [])})


def _describe_departures(sweep: Sweep) -> str:
    """Describe how SmartFRZ in the runs of a sweep differs from the paper; "" if it does not."""
    used = [
        (e.spec, _collect_options(e.spec)) for e in sweep.entries if e.spec.strategy == "smartfrz"
    ]
    default = [pair for pair in used if pair[1]["recipe"] == "default"]
    published = [pair for pair in used if pair[1]["recipe"] != "default"]
    sentences = [_describe_runs("SmartFRZ", default), _describe_runs(PUBLISHED_ROW, published)]
    return " ".join(filter(None, sentences))


def _describe_runs(name: str, used: Sequence[tuple[Spec, dict[str, Any]]]) -> str:
    """Describe how SmartFRZ in some runs differs from the paper.

    used: each run with all options of its strategy.
    """
    limits: dict[str, float] = {}
    for spec, options in used:
        path = spec.paths.get("predictor", "")
        calibrated = _read_provenance(path).get("threshold", PAPERS_LIMIT)
        limits[Path(path).stem] = options["threshold"] or calibrated
    words = _describe_predictors(dict.fromkeys(spec.paths.get("predictor", "") for spec, _ in used))
    if set(limits.values()) - {PAPERS_LIMIT}:
        each = [f"{limit:g}" for limit in dict.fromkeys(limits.values())]
        if len(each) > 1:
            each = [f"{limit:g} ({name})" for name, limit in limits.items()]
        words.append(f"it freezes at P(freeze) ≥ {', '.join(each)} instead of by argmax")
    if warmups := sorted({o["warmup"] for _, o in used} - {0}):
        epochs = " or ".join(f"{warmup:g}" for warmup in warmups)
        span = "epoch" if warmups == [1] else f"{epochs} epochs"
        words.append(f"it freezes no layer in the first {span}")
    return f"{name} departs from its paper: {'; '.join(words)} (docs/predictor.md)." * bool(words)


def _describe_predictors(paths: Iterable[str]) -> list[str]:
    """Describe how the predictors in some files differ from the paper's predictor."""
    known = [(path, facts) for path in paths if (facts := _read_provenance(path))]
    words = []
    if any(facts["features"] != PAPERS_FEATURES for _, facts in known):
        features = " or ".join(dict.fromkeys(facts["features"] for _, facts in known))
        sizes = " or ".join(f"{n:,}" for n in dict.fromkeys(_count_parameters(p) for p, _ in known))
        words.append(
            f"its predictor reads the feature set {features} instead of raw weights and has "
            f"{sizes} parameters instead of {PAPERS_PARAMETERS:,}"
        )
    optimizers = {_describe_training(facts["recipe"]) for _, facts in known}
    sources = sorted({data for _, facts in known for data in facts["data"]})
    if known and (optimizers != {"sgd"} or sources != ["imagenet"]):
        words.append(
            f"the predictor was trained with {' or '.join(sorted(optimizers))} on "
            f"{', '.join(sources)} instead of with sgd on imagenet"
        )
    rules = dict.fromkeys(
        f"the range of {rule['k']} values of unbiased CKA is below {rule['epsilon']:g}"
        for rule in (facts["rule"] for _, facts in known)
        if rule.get("estimator", "unbiased") != "biased"
    )
    if rules:
        words.append(
            f"a layer is labelled as converged if {' or '.join(rules)}, where the paper uses "
            "biased CKA"
        )
    return words


def _describe_training(recipe: Mapping[str, Any]) -> str:
    """Describe how a predictor was trained.

    The text names the optimizer, and the settings that the paper does not name.
    """
    words = [
        "one cycle of the learning rate" * (recipe.get("schedule", "one_cycle") == "one_cycle"),
        "clipped gradients" * bool(recipe.get("clip", 1.0)),
        "standardised tokens" * recipe["standardise"],
    ]
    return ", ".join([recipe["optimizer"], *filter(None, words)])


def _count_parameters(path: str) -> int:
    """Return the number of parameters in a predictor file, without its input standardisation."""
    from safetensors import safe_open

    with get_utf8_path(path) as place, safe_open(place, framework="numpy") as file:
        names = set(file.keys()) - {"scale", "shift"}
        return sum(math.prod(file.get_slice(name).get_shape()) for name in names)


@cache
def _read_provenance(path: str) -> dict[str, Any]:
    """Return the provenance in a predictor file; empty if it is not a predictor file."""
    from safetensors import SafetensorError, safe_open

    try:
        with get_utf8_path(path) as place, safe_open(place, framework="numpy") as file:
            provenance: dict[str, Any] = json.loads((file.metadata() or {}).get("provenance", "{}"))
    except (SafetensorError, OSError):
        return {}
    return provenance
