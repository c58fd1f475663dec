"""Report on Figures 3 and 4 from recorded runs: figures, numbers, summary and provenance."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from bench.errors import UserError
from bench.files import explain_errors, make_folder, write_atomically
from reports.document.profile import Profile
from reports.document.provenance import format_provenance
from reports.document.report import Drawing, Report
from reports.figures.cka_curves import draw_cka_curves
from reports.figures.gradient_sample import SampleComparison, draw_gradient_sample
from reports.figures.panels import build_titles
from reports.figures.style import apply_style, save_figure
from reports.runs import gradient_samples, recordings, run_table
from reports.runs.gradient_samples import BAND, DRAWS, TAILORED
from reports.runs.recordings import SETTLED, Gradient, find_settled_epoch
from reports.runs.run_table import ROLES, Reader

SHOWN = 6  # number of layers drawn per run, evenly spaced from the first to the last
KEYS = (*ROLES, "seed")


def write_curves(
    wanted: Iterable[Mapping[str, Any]], results: Path, out: Path, profile: Mapping[str, Any]
) -> list[Path]:
    """Write Figures 3 and 4 of the wanted runs (see reports.runs.run_table) into the folder `out`.

    wanted: runs of the strategy record with gradient = true.
    results: the results folder.
    profile: as in reports.publishing.build.build_report.
    Returns the files, with the text for a terminal first. Raises UserError if a result is damaged,
    a recording is missing, or `out` cannot be written.
    """
    described, frame = Profile.of(profile), run_table.read_runs(wanted, results)
    if frame.empty:
        raise UserError("the sweep of Figures 3 and 4 has no runs; check the sweep file")
    curves = _select_layers(recordings.read_curves(frame, results))
    gradients = recordings.read_gradients(frame, results)
    comparisons = {run: _compare_sample(gradient) for run, gradient in gradients.items()}
    make_folder(out)
    summary = out / "curves.txt"
    write_atomically(summary, _format_summary(frame, described, curves, comparisons))
    files = [summary, *_write_figures(frame, described, curves, comparisons, out)]
    files += _write_numbers(frame, curves, gradients, comparisons, out)
    record = out / "curves.json"
    write_atomically(record, format_provenance(frame, described, files, ROLES))
    return [*files, record]


def build_report(frame: pd.DataFrame, reader: Reader, profile: Profile) -> Report:
    """Return Figures 3 and 4 as a report for the page. `write_curves` writes their files."""
    names = build_titles(frame, profile)
    third = "Figure 3: gradients of all and of sampled weights"
    fourth = "Figure 4: CKA during training"

    def gradients() -> Figure:
        found = recordings.read_gradients(frame, reader.results)
        shown = {run: _compare_sample(gradient) for run, gradient in found.items()}
        return draw_gradient_sample(shown, names, f"{third} · {profile.name} profile")

    def similarity() -> Figure:
        shown = _select_layers(recordings.read_curves(frame, reader.results))
        return draw_cka_curves(shown, names, f"{fourth} · {profile.name} profile")

    low, high = (round(100 * end) for end in BAND)
    drawings = (
        Drawing(
            "figure3",
            third,
            f"Left: gradients of all weights of the largest layer and of {TAILORED:,} sampled "
            "weights. Right: Kolmogorov–Smirnov distance between the two distributions for several "
            f"sample sizes. The line is the median of {DRAWS} samples. The band reaches from the "
            f"{low} % quantile to the {high} % quantile.",
            gradients,
        ),
        Drawing(
            "figure4",
            fourth,
            "Unbiased CKA between the output of a layer and the output of the same layer of a "
            f"trained reference, for up to {SHOWN} layers from the first to the last.",
            similarity,
        ),
    )
    title = "Figures 3 and 4: gradients of sampled weights, and CKA during training"
    return Report("curves", title, (), drawings, frame)


def _select_layers(curves: pd.DataFrame) -> pd.DataFrame:
    """Select SHOWN layers of each run, evenly spaced from the first to the last."""
    parts = [
        here[here.layer.isin(np.linspace(0, here.layer.max(), SHOWN).round())]
        for _, here in curves.groupby("id", sort=False)
    ]
    return pd.concat(parts, ignore_index=True) if parts else curves


def _compare_sample(gradient: Gradient) -> SampleComparison:
    size = len(gradient.values)
    return SampleComparison(
        f"layer {gradient.layer}: {gradient.name}\n{size:,} weights",
        gradient_samples.build_histogram(gradient.values),
        gradient_samples.measure_distances(gradient.values),
    )


def _write_figures(
    frame: pd.DataFrame,
    profile: Profile,
    curves: pd.DataFrame,
    comparisons: Mapping[str, SampleComparison],
    out: Path,
) -> list[Path]:
    names = build_titles(frame, profile)
    with apply_style(), explain_errors(out):
        third = f"Gradients of all and of sampled weights · {profile.name} profile"
        fourth = f"Unbiased CKA during training · {profile.name} profile"
        return [
            *save_figure(draw_gradient_sample(comparisons, names, third), out / "figure3"),
            *save_figure(draw_cka_curves(curves, names, fourth), out / "figure4"),
        ]


def _write_numbers(
    frame: pd.DataFrame,
    curves: pd.DataFrame,
    gradients: Mapping[str, Gradient],
    comparisons: Mapping[str, SampleComparison],
    out: Path,
) -> list[Path]:
    """Write the numbers of the figures as CSV files. The first columns identify the run."""
    of_runs = frame[["id", *KEYS]]
    layers = pd.DataFrame(
        [(run, g.layer, g.name, len(g.values)) for run, g in gradients.items()],
        columns=["id", "layer", "name", "weights"],
    )
    tables = {
        "figure3_histogram": _join_runs(
            {run: c.histogram for run, c in comparisons.items()}, layers
        ),
        "figure3_distance": _join_runs(
            {run: c.distances for run, c in comparisons.items()}, layers
        ),
        "figure4": curves.drop(columns="depth"),
    }
    for name, table in tables.items():
        text = of_runs.merge(table, on="id").to_csv(index=False, lineterminator="\n")
        write_atomically(out / f"{name}.csv", text)
    return [out / f"{name}.csv" for name in tables]


def _join_runs(tables: Mapping[str, pd.DataFrame], layers: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of `layers`, joined with the rows that `tables` holds for their run id."""
    if not tables:
        return layers
    return layers.merge(pd.concat(tables, names=["id"]).reset_index("id"), on="id")


def _format_summary(
    frame: pd.DataFrame,
    profile: Profile,
    curves: pd.DataFrame,
    comparisons: Mapping[str, SampleComparison],
) -> str:
    """Return a summary of both figures as text."""
    low, high = (round(100 * end) for end in BAND)
    lines = [f"Figures 3 and 4 · {profile.name} profile", profile.sentence]
    for run, title in build_titles(frame, profile).items():
        lines += ["", title.replace("\n", " on ")]
        if run not in comparisons:
            lines.append("  no finished run")
            continue
        distances = comparisons[run].distances
        here = distances[distances["size"] == TAILORED].iloc[0]
        lines += [
            f"  gradient of {comparisons[run].layer.replace(chr(10), ', ')}",
            f"    KS distance of {TAILORED:,} sampled weights to all weights: {here['median']:.3f} "
            f"({low}–{high} % of {DRAWS} samples: {here['low']:.3f} to {here['high']:.3f})",
            "  final CKA with the reference, and the epoch from which CKA varies by at most "
            f"{SETTLED:g}",
        ]
        shown = curves[curves.id == run]
        for (layer, name), curve in shown.groupby(["layer", "name"]):
            epoch = find_settled_epoch(curve)
            when = "not before the end" if math.isnan(epoch) else f"from {epoch:.3g}"
            lines.append(f"    {f'layer {layer}: {name}':34}{curve.cka.iloc[-1]:.3f}  {when}")
    return "\n".join(lines) + "\n"
