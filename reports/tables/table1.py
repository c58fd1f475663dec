"""Table 1: freezing guided by similarity to a reference, with and without the reference's cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain

import pandas as pd

from bench.spec import FULL
from reports.comparison.accuracy_cost_drawing import make_accuracy_cost_drawing
from reports.comparison.against_full_table import (
    LOST_AND_SAVED,
    PRINTED_COLUMNS,
    TIME_SAVED,
    build_against_full,
    select_printed,
)
from reports.document import captions
from reports.document.profile import Profile
from reports.document.report import Report
from reports.document.table import (
    Column,
    Row,
    Table,
    Value,
    choose_unit,
    is_known,
    percent_column,
    rounded_column,
    to_number,
)
from reports.runs.run_table import Reader

TITLE = "Table 1: freezing guided by similarity to a trained reference"
REFERENCE = (
    "The oracle freezes layers by their CKA with a reference. The reference is the same model, "
    "fully trained on the same training images with another seed. It is trained once for each "
    "split of the data. “Saved with the reference” adds the full cost of the reference to the cost "
    "of each seed, as for someone who trains a single network. These savings are in exact FLOPs "
    "and count the cost of decisions too. A negative value means that the method and its reference "
    "cost more than full training. The paper counts neither the reference nor the decisions."
)
SHORT = (
    "“exact %”: exact FLOPs saved, with the cost of decisions. “with ref. %”: the same, with the "
    "cost of training the reference too."
)


def build_report(frame: pd.DataFrame, reader: Reader, profile: Profile) -> Report:
    """Return the report of Table 1 with its plot of accuracy against computation."""
    built = build_against_full(
        frame, profile, 1, TITLE, [REFERENCE], conditional=captions.ONE_REFERENCE
    )
    rows = add_reference(built.rows, frame, reader)
    freezing = [row for row in rows if row["method"] != FULL]
    missing = [
        f"A reference of {row['model']} on {row['dataset']} has no result yet."
        for row in freezing
        if not is_known(row["reference_exact"])
    ]
    unit = choose_unit(to_number(row["paper_total"]) for row in rows)
    against = Table(
        built.against.title,
        build_against_columns(freezing, unit.name, unit.flops),
        freezing,
        built.against.blocks,
        [*(n for n in built.against.notes if n != captions.REPLAYED), *missing],
    )
    compact = Table(
        built.compact.title,
        build_compact_columns(built.compact.columns),
        rows,
        built.compact.blocks,
        [*(n for n in built.compact.notes if n != REFERENCE), SHORT, *missing],
    )
    built = replace(
        built,
        results=replace(built.results, rows=rows),
        against=against,
        compact=compact,
    )
    return built.make_report(
        "table1", TITLE, frame, make_accuracy_cost_drawing("table1", frame, profile)
    )


def add_reference(rows: Sequence[Row], frame: pd.DataFrame, reader: Reader) -> list[Row]:
    """Return the rows with the cost of their references, and the savings after this cost.

    Each row gets three more values. `reference`: ids of the runs that trained the references,
    separated by spaces. `reference_exact`: FLOPs of one reference, as the mean over the seeds.
    `saved_with_reference`: share of full training's FLOPs that is saved if the reference counts as
    cost.
    """
    full = {
        (row["model"], row["dataset"]): to_number(row["exact_total"])
        for row in rows
        if row["method"] == FULL
    }
    references: dict[str, list[str]] = {}
    for cell, run in zip(frame.cell, frame.reference, strict=True):
        references.setdefault(cell, []).extend([run] if run else [])
    wanted = [{"id": run} for run in dict.fromkeys(chain(*references.values()))]
    runs = {run["id"]: run for run in reader.read_runs(wanted).to_dict("records")}
    longer: list[Row] = []
    for row in rows:
        used = references[str(row["cell"])]
        own: dict[str, Value] = {
            "reference": " ".join(dict.fromkeys(used)) or None,
            "reference_exact": None,
            "saved_with_reference": None,
        }
        if used:
            cost = sum(float(runs[run]["exact_total"]) for run in used) / len(used)
            spent = to_number(row["exact_total"]) + to_number(row["decide_flops"]) + cost
            whole = full.get((row["model"], row["dataset"]), math.nan)
            own |= {"reference_exact": cost, "saved_with_reference": 1 - spent / whole}
        longer.append({**row, **own})
    return longer


def build_against_columns(rows: Sequence[Row], unit: str, flops: float) -> tuple[Column, ...]:
    """Return the columns for differences, savings and the cost of the reference."""
    return (
        *LOST_AND_SAVED,
        rounded_column(f"Reference's training ({unit})", "reference_exact", 4, flops),
        percent_column("Saved with the reference (%)", "saved_with_reference"),
        TIME_SAVED,
        *select_printed(PRINTED_COLUMNS, rows),
    )


def build_compact_columns(columns: Sequence[Column]) -> tuple[Column, ...]:
    """Return the columns for a terminal.

    The savings without and with the reference's cost replace the time and the realised ratio.
    """
    return (
        *(column for column in columns if column.head not in ("realised", "time s")),
        percent_column("exact %", "exact_saved", 0),
        percent_column("with ref. %", "saved_with_reference", 0),
    )
