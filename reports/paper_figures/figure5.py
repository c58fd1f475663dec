"""Report on Figure 5: memory during training and freezing moments, from the runs of Table 2."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from bench.spec import FULL
from reports import statistics
from reports.document import captions
from reports.document.profile import Profile
from reports.document.report import Drawing, Report
from reports.document.table import (
    MEBI,
    PAIR_COLUMNS,
    Row,
    Table,
    percent_column,
    rounded_column,
    text_column,
)
from reports.figures.freeze_steps import draw_freeze_steps
from reports.figures.memory_curves import draw_memory_curves
from reports.runs.cells import build_cells
from reports.runs.epochs import read_epochs
from reports.runs.run_table import Reader

TITLE = "Figure 5: memory during training and freezing moments"
SHOWN = "resnet50"  # the model of Figure 5b in the paper
MEMORY = (
    "Memory is the sum of the bytes that autograd saves for the backward pass, parameters, "
    "gradients and optimizer state, at the end of an epoch. “Saved at the end” compares the memory "
    "in the last epoch with that of full training in its last epoch. “Saved over training” "
    "compares the means over all epochs. Both are shares of the memory of full training, paired by "
    "seed and averaged over the seeds."
)
COLUMNS = (
    text_column("Method", "method"),
    text_column("Seeds", "seeds"),
    rounded_column("First epoch (MiB)", "first_bytes", 3, MEBI),
    rounded_column("Last epoch (MiB)", "last_bytes", 3, MEBI),
    percent_column("Saved at the end (%)", "memory_saved"),
    percent_column("Saved over training (%)", "mean_saved"),
)


def build_report(frame: pd.DataFrame, reader: Reader, profile: Profile) -> Report:
    """Return the report on Figures 5a and 5b, with a table of the numbers of Figure 5a."""
    lines = read_epochs(frame, reader.results)
    freeze_steps = reader.read_freeze_steps(frame)
    groups = build_cells(frame)
    table = Table(
        f"{TITLE} ({profile.name} profile)",
        COLUMNS,
        build_rows(frame, lines, profile),
        PAIR_COLUMNS,
        [profile.sentence, *captions.describe_devices_and_predictor(groups, profile), MEMORY,
         *captions.list_failures(groups, profile)],
    )  # fmt: skip
    datasets = list(dict.fromkeys(frame.dataset))
    drawings = [_make_memory_drawing(lines[lines.dataset == d], d, profile) for d in datasets]
    drawings += [
        _make_freeze_steps_drawing(freeze_steps[freeze_steps.dataset == d], d, profile)
        for d in datasets
    ]
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
    """Return one row per cell: memory of its first and last epoch, and shares saved.

    lines: the epochs of the runs (see reports.runs.epochs). Memory is in bytes. Shares (0 to 1)
    compare with full training. They are None for full training itself.
    """
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
    """Return the share of memory saved in the last epoch compared with full training, by seed.

    Seeds that are missing in one of the two frames are left out.
    """
    return _compute_savings(_select_last_epoch(ours), _select_last_epoch(full))


def average_seeds(by_seed: Mapping[int, float]) -> float:
    """Return the mean over the seeds."""
    return statistics.compute_mean(list(by_seed.values()))


def _compute_savings(mine: pd.Series[float], theirs: pd.Series[float]) -> dict[int, float]:
    return {int(s): float(1 - mine[s] / theirs[s]) for s in mine.index.intersection(theirs.index)}


def _average_epochs(lines: pd.DataFrame) -> pd.Series[float]:
    """Return the mean memory over the epochs of each seed, in bytes."""
    return lines.groupby("seed").memory_bytes.mean()


def _select_last_epoch(lines: pd.DataFrame) -> pd.Series[float]:
    """Return the memory of the last epoch of each seed, in bytes."""
    return lines.sort_values("epoch").groupby("seed").memory_bytes.last()


def _average_end(lines: pd.DataFrame, first: bool) -> float:
    ends = lines.sort_values("epoch").groupby("seed").memory_bytes
    return float((ends.first() if first else ends.last()).mean())


def _make_memory_drawing(lines: pd.DataFrame, dataset: str, profile: Profile) -> Drawing:
    title = f"Figure 5a: memory during training, {profile.format_name(dataset)}"
    return Drawing(
        "figure5a",
        title,
        "Memory at the end of each epoch: bytes that autograd saves for the backward pass, "
        "parameters, gradients and optimizer state. Thin lines are seeds, thick lines are their "
        "means. Autograd saves nothing for a frozen prefix. A frozen layer has no gradient and no "
        "momentum.",
        lambda: draw_memory_curves(lines, profile, title),
    )


def _make_freeze_steps_drawing(
    freeze_steps: pd.DataFrame, dataset: str, profile: Profile
) -> Drawing:
    title = f"Figure 5b: freezing moments of the layers, {profile.format_name(dataset)}"
    here = freeze_steps[freeze_steps.model == SHOWN]
    return Drawing(
        "figure5b",
        title,
        "A point is a layer of one seed, at the epoch at which it froze. A hollow point on the "
        "line “never” is a layer that trained to the end. Table 2 shows the other models.",
        lambda: draw_freeze_steps(here, profile, title),
    )
