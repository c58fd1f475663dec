"""Methods beside those that were given just their computation: which is the better for it.

Against full training a method may lose little because it saves little. Against a method of the
same cost, freezing by a schedule, at random, or stopping earlier, it must be worth its decisions.
"""

from __future__ import annotations

from collections.abc import Sequence

from reports import statistics
from reports.comparison.method_rows import expand_interval
from reports.document.profile import Profile
from reports.document.table import (
    Row,
    Table,
    interval_column,
    number_column,
    p_value_column,
    text_column,
)
from reports.runs.cells import Cell
from reports.statistics import LEAST, Interval

ALL = "all pairs"
BETTER, WORSE, NOT_APART = "better", "worse", "not told apart"
NOT_TOLD = "not told"
MATCHED = (
    "Rivals were given the mean cost of the method's runs on the same model and data as their "
    "budget (FLOPs of the exact convention, deciding included). The difference is the method's "
    "accuracy less the rival's, paired by seed, with a 95 % t interval; over all pairs each counts "
    "once, by its mean. Better or worse: the interval lies on one side of 0 and, over all pairs, p "
    "is below 0.05 after Holm's correction over the rivals; single pairs are not corrected. "
    f"Nothing is told from fewer than {LEAST} seeds (over all pairs, {LEAST} pairs), nor while a "
    "wanted run of the two has no number."
)

COLUMNS = (
    text_column("Method", "method"),
    text_column("Rival", "rival"),
    text_column("Compared", "compared"),
    interval_column("Method − rival (points) [95 %]", "difference"),
    text_column("Method is", "outcome"),
    p_value_column("p (different), Holm", "p_different"),
    number_column("Rival's cost / method's", "cost_ratio", 3),
)
COMPACT = (
    text_column("Method", "method"),
    text_column("rival", "rival"),
    text_column("compared", "compared"),
    interval_column("method − rival [95 %]", "difference"),
    text_column("method is", "outcome"),
    p_value_column("p", "p_different"),
    number_column("cost", "cost_ratio", 3),
)
PLACE = (text_column("Model", "model"), text_column("Data", "dataset"))


def build_equal_cost(
    cells: Sequence[Cell], profile: Profile, title: str
) -> tuple[Table, Table] | tuple[None, None]:
    """The table, and a short one for the terminal; None if nothing was matched.

    Pairs are taken together from three on, if one metric scores them all: the short table has
    these rows alone, or else each pair's. cells: of model, dataset, method; a run says in `match`
    which method it was matched to.
    """
    found = {cell.roles: cell for cell in cells}
    contests = [
        (found[*cell.roles[:2], match], cell)
        for cell in cells
        if (match := str(cell.runs[0].get("match") or "")) and (*cell.roles[:2], match) in found
    ]
    if not contests:
        return None, None
    single = [_build_row(method, rival, profile) for method, rival in contests]
    pairs = {method.roles[:2] for method, _ in contests}
    pooled = _pool_contests(contests) if len(pairs) >= LEAST and has_one_metric(cells) else []
    full = Table(title, COLUMNS, [*pooled, *single], PLACE, [MATCHED])
    short = Table(title, COMPACT, pooled or single, () if pooled else PLACE, [MATCHED])
    return full, short


def has_one_metric(cells: Sequence[Cell]) -> bool:
    """Whether all finished runs are scored alike, so that their points may be averaged."""
    return len({run["metric"] for cell in cells for run in cell.finished}) < 2


def _build_row(method: Cell, rival: Cell, profile: Profile) -> Row:
    """One pair of model and data."""
    model, dataset, _ = method.roles
    difference = _compute_difference(method, rival)
    return {
        "model": profile.format_name(model),
        "dataset": profile.format_name(dataset),
        "method": method.roles[2],
        "rival": rival.roles[2],
        "compared": f"{difference.n} of {rival.wanted} seeds",
        **expand_interval("difference", difference),
        "outcome": _judge_outcome(difference, is_complete(method, rival)),
        "p_different": None,
        "cost_ratio": _compute_cost(rival) / _compute_cost(method),
    }


def _pool_contests(contests: Sequence[tuple[Cell, Cell]]) -> list[Row]:
    """A row a method and rival, over all pairs of model and data."""
    groups: dict[tuple[str, str], list[tuple[Cell, Cell]]] = {}
    for method, rival in contests:
        groups.setdefault((method.roles[2], rival.roles[2]), []).append((method, rival))
    means = {
        names: [found.mean for pair in pairs if (found := _compute_difference(*pair)).n]
        for names, pairs in groups.items()
    }
    tested = {
        names: means[names] if all(is_complete(*pair) for pair in pairs) else []
        for names, pairs in groups.items()
    }
    p = statistics.apply_holm(
        {names: statistics.compute_p_different(values) for names, values in tested.items()}
    )
    return [
        _build_pooled_row(names, pairs, means[names], p[names]) for names, pairs in groups.items()
    ]


def _build_pooled_row(
    names: tuple[str, str], pairs: Sequence[tuple[Cell, Cell]], means: Sequence[float], p: float
) -> Row:
    difference = statistics.compute_t_interval(means)
    ratios = [_compute_cost(rival) / _compute_cost(method) for method, rival in pairs]
    outcome = _judge_outcome(difference, all(is_complete(method, rival) for method, rival in pairs))
    if outcome in (BETTER, WORSE) and p >= 1 - statistics.LEVEL:
        outcome = NOT_APART  # by Holm's correction, which the interval knows nothing of
    return {
        "model": ALL,
        "dataset": "taken together",
        "method": names[0],
        "rival": names[1],
        "compared": f"{difference.n} of {len(pairs)} pairs",
        **expand_interval("difference", difference),
        "outcome": outcome,
        "p_different": p,
        "cost_ratio": statistics.compute_mean([ratio for ratio in ratios if ratio > 0]),
    }


def _compute_difference(method: Cell, rival: Cell) -> Interval:
    pair = (method.by_seed("accuracy"), rival.by_seed("accuracy"))
    return statistics.compute_t_interval(statistics.pair_differences(*pair))


def is_complete(*cells: Cell) -> bool:
    """Whether every wanted run has a number."""
    return all(cell.n == cell.wanted for cell in cells)


def _judge_outcome(difference: Interval, complete: bool) -> str:
    if not complete or difference.n < LEAST:
        return NOT_TOLD
    if difference.low > 0:
        return BETTER
    return WORSE if difference.high < 0 else NOT_APART


def _compute_cost(cell: Cell) -> float:
    """FLOPs of the exact convention, deciding included; NaN if no run finished."""
    return cell.mean("exact_total") + cell.mean("decide_flops")
