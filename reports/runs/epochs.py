"""Measurements of runs per epoch: memory and number of frozen layers."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pandas as pd

from bench.errors import UserError
from bench.files import read_json_lines
from reports.runs.run_table import DONE, ROLES

# Columns, which are also the keys in epochs.jsonl. Sizes are in bytes; `frozen` is the number of
# frozen layers at the end of the epoch.
NUMBERS = ("epoch", "saved_bytes", "state_bytes", "cuda_allocated", "frozen")


def read_epochs(frame: pd.DataFrame, results: Path) -> pd.DataFrame:
    """Return one row per epoch of each finished run.

    Columns: the run's roles and seed, NUMBERS, and `memory_bytes` (bytes saved for the backward
    pass, plus state bytes). A value that the run did not measure is NaN. Raises UserError that
    names a damaged or missing file.
    """
    shared = [key for key in (*ROLES, "seed") if key in frame]
    rows = []
    for run in frame[frame.state == DONE].to_dict("records"):
        path = results / "runs" / run["id"] / "epochs.jsonl"
        for line in _read_lines(path):
            rows.append({**{key: run[key] for key in shared}, **line})
    table = pd.DataFrame(rows, columns=[*shared, *NUMBERS])
    for key in NUMBERS:
        table[key] = table[key].astype(float)
    table["memory_bytes"] = table.saved_bytes + table.state_bytes
    return table


def _read_lines(path: Path) -> list[dict[str, Any]]:
    lines = read_json_lines(path)
    try:
        return [{key: _parse_number(line[key]) for key in NUMBERS} for line in lines]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path} cannot be read ({error!r}); delete its folder to execute the run again"
        ) from None


def _parse_number(value: Any) -> float:
    return math.nan if value is None else float(value)
