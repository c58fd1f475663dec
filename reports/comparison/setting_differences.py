"""Settings in which two runs or cells differ, including the contents of the files they read."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd

IDENTITY = (
    "model", "data", "strategy", "options", "epochs", "batch_size", "lr", "optimizer",
    "evaluate_on", "results_version", "device",
)  # fmt: skip


def list_differences(left: pd.DataFrame, right: pd.DataFrame) -> list[tuple[str, str, str]]:
    """Return the name and both values of each setting that differs.

    left, right: rows of the exported table, for one run or one cell each.
    The columns `settings` and `contents` are read from the first run. The runs of a cell share
    both, apart from the reference and from settings that are not part of the id.
    """
    first, second = (
        {key: join_values(runs, key) for key in IDENTITY}
        | json.loads(runs.settings.iloc[0])
        | {f"hash of the {role}": content for role, content in get_contents(runs).items()}
        for runs in (left, right)
    )
    return [
        (name, _format(first.get(name, "")), _format(second.get(name, "")))
        for name in dict.fromkeys((*first, *second))
        if first.get(name) != second.get(name)
    ]


def join_values(runs: pd.DataFrame, key: str) -> str:
    """Return the distinct values of a column, separated by commas."""
    return ", ".join(dict.fromkeys(str(value) for value in runs[key] if str(value)))


def get_contents(runs: pd.DataFrame) -> dict[str, str]:
    """Return the hashes of the files that a run or cell reads, by the role of the file.

    The result is empty without runs.
    """
    contents: dict[str, str] = {} if runs.empty else json.loads(runs.contents.iloc[0])
    return contents


def get_setting(runs: pd.DataFrame, key: str) -> Any:
    """Return a setting of a run or cell from its column `settings`, None without runs."""
    return None if runs.empty else json.loads(runs.settings.iloc[0]).get(key)


def _format(value: Any) -> str:
    """Return a setting as text.

    A list is the value of `match`. It holds the ids of the runs whose cost gave the budget.
    """
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
