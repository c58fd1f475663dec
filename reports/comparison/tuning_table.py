"""Table of a search over learning rate, warm-up and weight decay, and the best values."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from bench.errors import UserError
from bench.results.run_folder import RunFolder
from bench.spec import Spec
from reports.document.table import Column, Row, Table, number_column, text_column

SEARCHED = ("lr", "warmup", "weight_decay")


@dataclass(frozen=True)
class TuningRow:
    """Outcome of one setting for one strategy.

    spec: run of the first seed.
    score: mean score over the seeds on validation data, NaN unless all seeds are finished.
    error: standard error of the score from the draw of the validation samples, NaN for metrics
    other than accuracy.
    state: number of finished runs as text, or "diverged".
    metric: metric of the score; "" if unknown.
    """

    spec: Spec
    score: float
    error: float
    state: str
    metric: str = ""

    @property
    def values(self) -> tuple[float, ...]:
        """Values of the searched fields: learning rate, warm-up and weight decay."""
        return tuple(getattr(self.spec, name) for name in SEARCHED)


def read_tuning_rows(specs: Sequence[Spec], results: Path) -> list[TuningRow]:
    """Return one row for each cell of the runs, in the order of the runs."""
    cells: dict[str, list[Spec]] = defaultdict(list)
    for spec in specs:
        cells[spec.cell].append(spec)
    return [_read_row(cell, results) for cell in cells.values()]


def _read_row(cell: Sequence[Spec], results: Path) -> TuningRow:
    folders = [RunFolder(results, spec.id) for spec in cell]
    found = [folder.result() for folder in folders if folder.done]
    if any(result["status"] != "done" for result in found):
        return TuningRow(cell[0], math.nan, math.nan, "diverged")
    state = f"{len(found)} of {len(cell)}"
    if len(found) < len(cell):
        return TuningRow(cell[0], math.nan, math.nan, state)
    score = fmean(result["accuracy"] for result in found)
    share = min(max(score / 100, 0.0), 1.0)
    error = 100 * math.sqrt(share * (1 - share) / found[0]["eval_count"])
    metric = found[0]["metric"]
    return TuningRow(cell[0], score, error if metric == "accuracy" else math.nan, state, metric)


def find_best(rows: Sequence[TuningRow], strategy: str) -> TuningRow | None:
    """Return the row of a strategy with the best score, or None if no row has a score.

    Of rows with equal scores, return the row with the lowest learning rate.
    """
    known = [r for r in rows if r.spec.strategy == strategy and not math.isnan(r.score)]
    return max(known, key=lambda row: (row.score, -row.spec.lr), default=None)


def build_tuning_table(rows: Sequence[TuningRow], title: str) -> Table:
    """Return the table of all settings.

    The table marks the best setting of each strategy, and all settings within one standard error of
    the best.
    """
    strategies = list(dict.fromkeys(row.spec.strategy for row in rows))
    best = {s: top for s in strategies if (top := find_best(rows, s))}
    lines: list[Row] = []
    for row in rows:
        top = best.get(row.spec.strategy)
        # False if a score or the error is unknown
        near = top is not None and row.score >= top.score - top.error
        lines.append(
            {
                "strategy": row.spec.strategy,
                **dict(zip(SEARCHED, row.values, strict=True)),
                "score": row.score,
                "mark": "best" if row is top else "≈" * near,
                "state": row.state,
            }
        )
    columns = (
        _make_exact_column("lr", "lr"),
        _make_exact_column("warm-up", "warmup"),
        _make_exact_column("weight decay", "weight_decay"),
        number_column(f"validation score{_unit(rows, ' (%)')}", "score"),
        text_column("", "mark"),
        text_column("runs", "state"),
    )
    return Table(
        title,
        columns,
        lines,
        (text_column("", "strategy"),),
        [_describe_marks(best), *_warn(rows, best)],
    )


def _make_exact_column(head: str, key: str) -> Column:
    """Return a column of unrounded numbers, because searched values may differ in any digit."""
    return Column(head, lambda row: repr(row[key]), key=key)


def _unit(rows: Sequence[TuningRow], percent: str) -> str:
    """Return `percent`, or "" if the scores are no accuracies."""
    return percent if all(row.metric in ("", "accuracy") for row in rows) else ""


def _describe_marks(best: dict[str, TuningRow]) -> str:
    errors = ", ".join(f"{s}: {row.error:.2f}" for s, row in best.items() if row.error > 0)
    if not errors:
        return (
            "The standard error of these scores is unknown, so settings that the search cannot "
            "tell apart are not marked."
        )
    return (
        "≈: within one standard error of the best setting of the same strategy. The search cannot "
        "tell these apart. The standard error is that of the draw of the validation samples "
        f"({errors} points). It is a rough guide, because it takes all samples as independent."
    )


def _warn(rows: Sequence[TuningRow], best: dict[str, TuningRow]) -> list[str]:
    """Return a warning for each best value at an end of the searched range.

    Only the learning rate and the weight decay are checked. A value of 0 gives no warning.
    """
    notes = []
    for strategy, top in best.items():
        for name in ("lr", "weight_decay"):
            tried = sorted({getattr(row.spec, name) for row in rows})
            value = getattr(top.spec, name)
            if len(tried) > 1 and value in (tried[0], tried[-1]) and value:
                way = "lower" if value == tried[0] else "higher"
                option = f"--{name.replace('_', '-')}"
                notes.append(
                    f"{strategy}: the best {name} ({value!r}) is at the end of its range; search "
                    f"{way} values too ({option})."
                )
    return notes


def format_profile_lines(
    rows: Sequence[TuningRow], pair: str, baseline: str, setting: str = ""
) -> str:
    """Return lines for a profile: the best values of the baseline strategy, and their source.

    pair: MODEL/DATASET, in the names of the profile.
    setting: setting of the profile that was searched; "" if none.
    Raises UserError if no setting of the baseline has a score.
    """
    top = find_best(rows, baseline)
    if top is None:
        states = ", ".join(sorted({row.state for row in rows if row.spec.strategy == baseline}))
        raise UserError(
            f"tune: no combination of {baseline} has a score ({states}); if all diverged, search "
            "lower values (--lr); if runs failed, correct the cause and run the command again"
        )
    score = f"{top.score:.1f}{_unit(rows, ' %')}"
    place = f"settings.{setting}.pairs" if setting else "pairs"
    lines = [
        f'[{place}."{pair}"] # searched with freezebench tune: {score} on validation data',
        *(f"{name} = {value!r}" for name, value in zip(SEARCHED, top.values, strict=True)),
    ]
    return "\n".join(lines)
