"""Synthetic results of the runs of Table 2, and the tables that are made from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from reports.comparison.against_full_table import AgainstFull
from reports.document.markdown import format_markdown
from reports.document.profile import Profile
from reports.document.table import Row
from reports.runs.run_table import read_runs
from reports.tables.table2 import build_table2
from tests.support.synthetic_results import PROFILE, list_runs, write_run

RUNS = list_runs(models=["resnet50", "vgg11"])


def build_from(
    results: Path,
    runs: Sequence[Mapping[str, Any]] = RUNS,
    profile: Mapping[str, Any] = PROFILE,
) -> AgainstFull:
    """Return Table 2 of the results in a folder."""
    return build_table2(read_runs(runs, results), Profile.of(profile))


def find_row(
    table: AgainstFull,
    method: str,
    model: str = "laptop_resnet (for resnet50)",
    dataset: str = "digits10 (for cifar10)",
) -> Row:
    """Return the row of a cell."""
    keys = (model, dataset, method)
    [found] = [r for r in table.results.rows if (r["model"], r["dataset"], r["method"]) == keys]
    return found


def list_runs_of(
    method: str, model: str = "resnet50", dataset: str = "cifar10"
) -> list[dict[str, Any]]:
    """Return the runs of a cell in the order of their seeds."""
    roles = {"model": model, "dataset": dataset, "method": method}
    return [run for run in RUNS if roles.items() <= run.items()]


def set_accuracy(results: Path, method: str, accuracies: Sequence[float], **changes: Any) -> None:
    """Overwrite the results of a method on the first pair with these accuracies, in percent."""
    for run, accuracy in zip(list_runs_of(method), accuracies, strict=True):
        write_run(results, run, accuracy=accuracy, **changes)


def format_parts(table: AgainstFull) -> str:
    """Return all parts of the report as Markdown."""
    return "\n".join(format_markdown(part) for part in table.parts)
