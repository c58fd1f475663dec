"""Table that compares methods with baselines of the same cost (matched runs).

A method that saves little also loses little relative to full training. A baseline of the same cost
freezes by a schedule or at random, or stops earlier. Comparing a method with these baselines shows
whether its decisions are worth their cost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from reports import pooling, statistics
from reports.comparison.method_rows import expand_interval
from reports.comparison.paired_difference import (
    PairedDifference,
    average_seeds,
    compare_accuracy,
)
from reports.document.captions import DETECTABLE, TEST_DRAW
from reports.document.difference_column import difference_column
from reports.document.profile import Profile
from reports.document.table import (
    PAIR_COLUMNS,
    Row,
    Table,
    number_column,
    p_value_column,
    text_column,
)
from reports.runs.cells import Cell
from reports.sampling import Pair
from reports.statistics import LEAST, Interval

ALL = "all pairs"
BETTER, WORSE, NOT_APART = "better", "worse", "not significant"
NOT_TOLD = "not tested"
MATCHED = (
    "Matched runs: the budget of each baseline is the mean cost of the method's runs on the same "
    "model and data (exact FLOPs, including decisions). Difference: the accuracy (or another "
    "score) of the method minus that of the baseline in points. It is paired by seed and test "
    f"sample, and has a 95 % interval. {TEST_DRAW} Over all pairs, each pair of model and data "
    "counts once, by its mean difference. The interval then contains the intervals over the pairs "
    f"and over the models (with fewer than {LEAST} models, only over the pairs). The p value is "
    "the larger one of the tests over the pairs and over the models. Outcome: better or worse if "
    "the interval excludes 0, otherwise not significant. Over all pairs, p must also be below "
    "0.05 after Holm's correction over these rows. Single pairs are not corrected. Not tested: "
    f"fewer than {LEAST} seeds (over all pairs: fewer than {LEAST} pairs), or a run without a "
    f"result. Cost ratio: mean cost of the baseline divided by that of the method. {DETECTABLE}"
)

COLUMNS = (
    text_column("Method", "method"),
    text_column("Baseline", "rival"),
    text_column("Compared", "compared"),
    difference_column("Method − baseline (points) [95 %]", "difference"),
    number_column("Detectable (points)", "detectable"),
    text_column("Outcome for the method", "outcome"),
    p_value_column("p (different), Holm", "p_different"),
    number_column("Cost: baseline / method", "cost_ratio", 3),
)
COMPACT = (
    text_column("Method", "method"),
    text_column("baseline", "rival"),
    text_column("compared", "compared"),
    difference_column("method − baseline [95 %]", "difference"),
    text_column("outcome", "outcome"),
    p_value_column("p, Holm", "p_different"),
    number_column("cost ratio", "cost_ratio", 3),
)


def build_equal_cost(
    cells: Sequence[Cell], profile: Profile, title: str
) -> tuple[Table, Table] | tuple[None, None]:
    """Return the full table and a short one for the terminal, or (None, None) without matched runs.

    cells: cells whose roles are model, data set and method. The key `match` of a run names the
    method to whose cost the run was matched. The full table has rows over all pairs if at least
    LEAST pairs have matched runs and one metric scores all finished runs. The short table then has
    only these rows. Otherwise, it has the rows of single pairs.
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
    full = Table(title, COLUMNS, [*pooled, *single], PAIR_COLUMNS, [MATCHED])
    short = Table(title, COMPACT, pooled or single, () if pooled else PAIR_COLUMNS, [MATCHED])
    return full, short


def has_one_metric(cells: Sequence[Cell]) -> bool:
    """Return whether one metric scores all finished runs.

    Only then can differences in points be averaged over the pairs.
    """
    return len({run["metric"] for cell in cells for run in cell.finished}) < 2


def _build_row(method: Cell, rival: Cell, profile: Profile) -> Row:
    """Return the row that compares a method with a baseline on one pair."""
    model, dataset, _ = method.roles
    difference = compare_accuracy(method, rival).interval
    return {
        "model": profile.format_name(model),
        "dataset": profile.format_name(dataset),
        "method": method.roles[2],
        "rival": rival.roles[2],
        "compared": f"{difference.n} of {rival.wanted} seeds",
        **expand_interval("difference", difference),
        "detectable": statistics.compute_detectable_difference(difference),
        "outcome": _judge_outcome(difference, is_complete(method, rival)),
        "p_different": None,
        "cost_ratio": _compute_cost(rival) / _compute_cost(method),
    }


def _pool_contests(contests: Sequence[tuple[Cell, Cell]]) -> list[Row]:
    """Return one row per method and baseline, over all pairs.

    contests: the cell of a method and the cell of a baseline, on one pair.
    """
    groups: dict[tuple[str, str], list[tuple[Cell, Cell]]] = {}
    for method, rival in contests:
        groups.setdefault((method.roles[2], rival.roles[2]), []).append((method, rival))
    found = {
        names: {method.roles[:2]: compare_accuracy(method, rival) for method, rival in pairs}
        for names, pairs in groups.items()
    }
    tested = {
        names: found[names] if all(is_complete(*pair) for pair in pairs) else {}
        for names, pairs in groups.items()
    }
    p = statistics.apply_holm(
        {
            names: pooling.compute_largest_p(statistics.compute_p_different, *average_seeds(values))
            for names, values in tested.items()
        },
        len(tested),
    )
    return [
        _build_pooled_row(names, pairs, found[names], p[names]) for names, pairs in groups.items()
    ]


def _build_pooled_row(
    names: tuple[str, str],
    pairs: Sequence[tuple[Cell, Cell]],
    differences: Mapping[Pair, PairedDifference],
    p: float,
) -> Row:
    """Return the row of a method and a baseline over all pairs.

    The interval of the row contains the interval over the pairs. With three or more models, it also
    contains the interval over the models.
    p: Holm-adjusted p value of the difference.
    """
    difference = pooling.compute_widest_interval(*average_seeds(differences))
    ratios = [_compute_cost(rival) / _compute_cost(method) for method, rival in pairs]
    outcome = _judge_outcome(difference, all(is_complete(method, rival) for method, rival in pairs))
    if outcome in (BETTER, WORSE) and p >= 1 - statistics.LEVEL:
        outcome = NOT_APART  # not significant after Holm's correction, which the interval ignores
    return {
        "model": ALL,
        "dataset": "pooled",
        "method": names[0],
        "rival": names[1],
        "compared": f"{sum(paired.n > 0 for paired in differences.values())} of {len(pairs)} pairs",
        **expand_interval("difference", difference),
        "detectable": statistics.compute_detectable_difference(difference),
        "outcome": outcome,
        "p_different": p,
        "cost_ratio": statistics.compute_mean([ratio for ratio in ratios if ratio > 0]),
    }


def is_complete(*cells: Cell) -> bool:
    """Return whether every wanted run has a result."""
    return all(cell.n == cell.wanted for cell in cells)


def _judge_outcome(difference: Interval, complete: bool) -> str:
    if not complete or difference.n < LEAST:
        return NOT_TOLD
    if difference.low > 0:
        return BETTER
    return WORSE if difference.high < 0 else NOT_APART


def _compute_cost(cell: Cell) -> float:
    """Return the mean exact FLOPs of a cell, including decisions; NaN if no run finished."""
    return cell.mean("exact_total") + cell.mean("decide_flops")
