"""Synthetic results of the runs of Tables 1 and 3 to 9, and the reports that are made from them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from bench.planning.sweep import load_sweep
from reports.document.markdown import format_markdown
from reports.document.report import Report
from reports.document.table import Row
from reports.publishing.build import build_report
from reports.publishing.from_sweep import describe_profile, list_shown_runs
from reports.runs.run_table import Reader
from tests.support.synthetic_results import make_result, write_outcome

OPTIONS = ("table4", "table5", "table8", "table9")
LIKE = {"window": "smartfrz", "size": "smartfrz", "t0": "linear", "M": "autofreeze"}
WEIGHTS = [100, 600, 1100, 2100, 4200, 9000, 9000, 9000, 9000, 9000, 9000, 9000, 9000, 7]


class TableResults:
    """Sweep of a table, with synthetic results of its runs in a folder."""

    def __init__(self, name: str, folder: Path) -> None:
        sweep = load_sweep(name, "laptop")
        self.name, self.results = name, folder / "results"
        self.wanted, self.profile = list_shown_runs(sweep), describe_profile(sweep)
        self.references = [spec for spec in sweep.artifacts if spec.data == "symbols100"]
        for run in self.wanted:
            self.put(run)
        for spec in self.references:
            self.put({"id": spec.id, "cell": spec.cell, "seed": spec.seed, "model": "x",
                      "dataset": "cifar100", "method": "full"})  # fmt: skip

    def put(self, run: dict[str, Any], **changes: Any) -> None:
        """Write the result of a run."""
        folder = self.results / "runs" / run["id"]
        folder.mkdir(parents=True, exist_ok=True)
        method = run["method"].split()[0]
        device = {"device": changes.pop("device", "a made-up CPU"), "threads": 1}
        made = make_result({**run, "method": LIKE.get(method, method)}) | changes
        for layer, weights in zip(made["layers"], WEIGHTS, strict=True):
            layer["weights"] = weights
        (folder / "environment.json").write_text(json.dumps(device))
        write_outcome(folder, run, made)

    def remove(self, run: dict[str, Any]) -> None:
        """Delete a run's folder."""
        shutil.rmtree(self.results / "runs" / run["id"])

    def report(self) -> Report:
        """Build the table's report from the current results."""
        return build_report(self.name, self.wanted, Reader(self.results), self.profile)

    def cell(
        self, method: str, model: str = "resnet50", dataset: str | None = None
    ) -> list[dict[str, Any]]:
        """Return the wanted runs of a cell."""
        dataset = dataset or self.wanted[0]["dataset"]
        roles = {"method": method, "model": model, "dataset": dataset}
        return [run for run in self.wanted if roles.items() <= run.items()]

    def result(self, run: dict[str, Any]) -> dict[str, Any]:
        """Return the content of a run's result.json."""
        content: dict[str, Any] = json.loads(
            (self.results / "runs" / run["id"] / "result.json").read_text()
        )
        return content


def of_tables(*names: str) -> pytest.MarkDecorator:
    """Return a pytest mark that runs a test once per table, with its TableResults as `made`."""
    return pytest.mark.parametrize("made", names, indirect=True)


def list_rows(report: Report) -> Sequence[Row]:
    """Return the rows of the report's table of unrounded numbers."""
    return report.numbers[report.name].rows


def find_row(report: Report, cell: Sequence[dict[str, Any]]) -> Row:
    """Return the row of the runs of a cell."""
    [found] = [r for r in list_rows(report) if r["cell"] == cell[0]["cell"]]
    return found


def format_parts(report: Report) -> str:
    """Return all parts of a report as Markdown."""
    return "\n".join(format_markdown(part) for part in report.parts)
