"""Figure 5: memory over training, and when each layer froze, from runs of Table 2."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from bench.spec import FULL
from reports import statistics
from reports.document import captions
from reports.document.profile import Profile
from reports.document.report import Drawing, Report
from reports.document.table import Row, Table, percent_column, rounded_column, text_column
from reports.figures.freezing_moment import draw_freezing_moments
from reports.figures.memory_curves import draw_memory_curves
from reports.runs.cells import build_cells
from reports.runs.epochs import read_epochs
from reports.runs.run_table import Reader

TITLE = "Figure 5: memory over training, and when layers freeze"
SHOWN = "resnet50"  # the model of Figure 5b
MEBI = 2.0**20
MEMORY = (
    "Memory of an epoch: the bytes that autograd keeps for the backward pass plus parameters, "
    "gradients and optimizer state, at its end. Saved: the share of full training's last epoch "
    "that a strategy's last epoch does without; saved over training: the same of the means over "
    "all epochs. Both are paired by seed, and means over the seeds."
)
PAIR = (text_column("Model", "model"), text_column("Data", "dataset"))
COLUMNS = (
    text_column("Method", "method"),
    text_column("Seeds", "seeds"),
    rounded_column("First epoch (MiB)", "first_bytes", 3, MEBI),
    rounded_column("Last epoch (MiB)", "last_bytes", 3, MEBI),
    percent_column("Saved at the end (%)", "memory_saved"),
    percent_column("Saved over training (%)", "mean_saved"),
)


def build_report(frame: pd.DataFrame, reader: Reader, profile: Profile) -> Report:
    """Figures 5a and 5b, and the numbers of 5a."""
    lines = read_epochs(frame, reader.results)
    moments = reader.freezing(frame)
    groups = build_cells(frame)
    table = Table(
        f"{TITLE} ({profile.name} profile)",
        COLUMNS,
        build_rows(frame, lines, profile),
        PAIR,
        [profile.sentence, *captions.describe_setting(groups, profile), MEMORY,
         *captions.list_failures(groups, profile)],
    )  # fmt: skip
    datasets = list(dict.fromkeys(frame.dataset))
    drawings = [_draw_memory(lines[lines.dataset == d], d, profile) for d in datasets]
    drawings += [_draw_moments(moments[moments.dataset == d], d, profile) for d in datasets]
    return Report(
        "figure5",
        TITLE,
        (table,),
        tuple(drawings),
        frame,
        compact=(table,),
        numbers={"figure5": table},
    )


def build_rows(frame: pd.DataFrame, lines: pd.DataFrame, profile: Profile) -> Sequence[Row]:
    """Memory of each cell's first and last epoch in bytes, and the shares saved against full."""
    found: list[Row] = []
    for cell in build_cells(frame):
        model, dataset, method = cell.roles
        here = lines[(lines.model == model) & (lines.dataset == dataset)]
        ours, full = here[here.method == method], here[here.method == FULL]
        found.append(
            {
                "model": profile.format_name(model),
                "dataset": profile.format_name(dataset),
                "method": method,
                "cell": str(cell.runs[0]["cell"]),
                "seeds": captions.format_seed_count(cell),
                "first_bytes": _average_end(ours, first=True),
                "last_bytes": _average_end(ours, first=False),
                "memory_saved": None
                if method == FULL
                else average_seeds(compute_memory_saved(ours, full)),
                "mean_saved": None
                if method == FULL
                else average_seeds(_compute_savings(_average_epochs(ours), _average_epochs(full))),
            }
        )
    return found


def compute_memory_saved(ours: pd.DataFrame, full: pd.DataFrame) -> dict[int, float]:
    """The share of full training's last epoch that the last epoch saves, for each seed of both."""
    return _compute_savings(_select_last_epoch(ours), _select_last_epoch(full))


def average_seeds(by_seed: Mapping[int, float]) -> float:
    """The mean over the seeds."""
    return statistics.compute_mean(list(by_seed.values()))


def _compute_savings(mine: pd.Series[float], theirs: pd.Series[float]) -> dict[int, float]:
    return {int(s): float(1 - mine[s] / theirs[s]) for s in mine.index.intersection(theirs.index)}


def _average_epochs(lines: pd.DataFrame) -> pd.Series[float]:
    """Mean memory of each seed's epochs."""
    return lines.groupby("seed").memory_bytes.mean()


def _select_last_epoch(lines: pd.DataFrame) -> pd.Series[float]:
    """Memory of each seed's last epoch."""
    return lines.sort_values("epoch").groupby("seed").memory_bytes.last()


def _average_end(lines: pd.DataFrame, first: bool) -> float:
    ends = lines.sort_values("epoch").groupby("seed").memory_bytes
    return float((ends.first() if first else ends.last()).mean())


def _draw_memory(lines: pd.DataFrame, dataset: str, profile: Profile) -> Drawing:
    title = f"Figure 5a: memory over training, {profile.format_name(dataset)}"
    return Drawing(
        "figure5a",
        title,
        "What autograd keeps for the backward pass plus parameters, gradients and optimizer "
        "state, at the end of each epoch: thin lines are seeds, thick ones their means. A frozen "
        "prefix keeps nothing, and a frozen layer has neither gradient nor momentum.",
        lambda: draw_memory_curves(lines, profile, title),
    )


def _draw_moments(moments: pd.DataFrame, dataset: str, profile: Profile) -> Drawing:
    title = f"Figure 5b: when each layer froze, {profile.format_name(dataset)}"
    here = moments[moments.model == SHOWN]
    return Drawing(
        "figure5b",
        title,
        "Each point is a layer of one seed at the moment it froze; layers that trained to the end "
        "stand hollow on the line “never”. Table 2 shows the other models.",
        lambda: draw_freezing_moments(here, profile, title),
    )
