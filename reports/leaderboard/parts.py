"""Tables of the leaderboard for the image models: ranking, equal cost, time to target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from bench.strategy_api.built_in import find_built_in
from reports.comparison.method_rows import expand_interval
from reports.document.captions import SLOWED_MARK, TEST_DRAW
from reports.document.difference_column import difference_column
from reports.document.table import (
    Column,
    Row,
    Table,
    Value,
    format_fixed,
    interval_column,
    is_known,
    number_column,
    p_value_column,
    percent_column,
    text_column,
    to_number,
)
from reports.leaderboard.contestants import CONTROLS, Contestant
from reports.leaderboard.hypervolume import MOST_LOST, MOST_SAVED
from reports.leaderboard.standings import Standing
from reports.leaderboard.time_to_target import Reached
from reports.statistics import (
    LEAST,
    MARGIN,
    NO_INTERVAL,
    POWER,
    compute_detectable_difference,
)

# Marks of methods whose authors made them for other kinds of model, or only for some of these.
OUTSIDE, PARTLY = "*", "(*)"
MARKS = {
    OUTSIDE: "the authors of this method made it for other kinds of model than those in its row.",
    PARTLY: "the authors of this method made it for only some of the kinds of model in its row.",
}
METHOD = Column("Method", lambda row: f"{row['method']}{row['mark']}", right=False, key="method")
PERCENT = 100.0


def format_rank(value: Value) -> str:
    """Return a rank with at most one decimal."""
    return format_fixed(value, 0 if round(to_number(value), 1).is_integer() else 1)


def format_rank_range(row: Row) -> str:
    """Return a rank with the ends of its range."""
    rank, low, high = (format_rank(row[f"rank_range{end}"]) for end in ("", "_low", "_high"))
    return f"{rank} [{low}, {high}]" if is_known(row["rank_range_low"]) else rank


def format_name(row: Row) -> str:
    """Return a method's name with its mark, and the number of its runs if some have no result."""
    missing = to_number(row["runs"]) < to_number(row["planned_runs"])
    count = f" ({row['runs']} of {row['planned_runs']} runs)" if missing else ""
    return f"{METHOD.text(row)}{count}"


RANKING_COMPACT = (  # for a terminal
    Column("Rank", lambda row: format_rank(row["rank"]), key="rank"),
    Column("Method", format_name, right=False, key="method"),
    interval_column("Hypervolume (%) [95 %]", "hypervolume", "", 1, PERCENT, sign=False),
    Column("Rank, 95 %", format_rank_range, key="rank_range"),
    percent_column("Saved (%)", "saved"),
    difference_column("Difference (points) [95 %]", "difference"),
)
RANKING_COLUMNS = (
    *RANKING_COMPACT,
    number_column("Detectable (points)", "detectable"),
    number_column("Settings", "settings", 0),
    text_column("Made for", "made_for"),
)
AGAINST = tuple(difference_column(f"− {name} [95 %]", name) for name in CONTROLS)
EQUAL_COST_COMPACT = (  # for a terminal
    METHOD,
    *AGAINST,
    text_column("Outcome", "outcome"),
)
EQUAL_COST_COLUMNS = (
    METHOD,
    percent_column("Saved (%)", "saved"),
    *AGAINST,
    number_column("Detectable (points)", "detectable"),
    text_column("Pairs", "pairs"),
    text_column("Outcome", "outcome"),
    p_value_column("p (beats all), Holm", "p_better"),
    p_value_column("p (worse), Holm", "p_worse"),
)
RANKING = (
    f"Hypervolume: take the rectangle of savings from 0 to {100 * MOST_SAVED:g} % and losses from "
    f"0 to {MOST_LOST:g} points. A setting that saves S and loses L covers the part of the "
    "rectangle with savings up to S and losses of L or more. The hypervolume is the share of the "
    "rectangle that the settings of a method cover together, in percent, averaged over the pairs. "
    "A method without an option for its saving has one setting. A method with such an option has "
    "three settings on some pairs, which can only help it. Controls have one setting for each "
    "cost, and no rank. Settings: number of settings, summed over the pairs. The data sets are "
    "fixed and the models are resampled. The interval of a hypervolume contains the central 95 % "
    "of all resamples and the t interval over the models. Methods with the same hypervolume share "
    "their mean rank. Rank, 95 %: rank, and the central 95 % of its values over these resamples. "
    "With few models, this range is too narrow, and no claim rests on it. Saved and difference: "
    "at the defaults, relative to full training. Saved: exact FLOPs, where the FLOPs of decisions "
    "count as a cost. The interval of the difference contains the intervals over the pairs and "
    "over the models. Detectable: smallest true difference that a test at 5 % finds with "
    f"{100 * POWER:g} % power, given the width of the interval. Made for: kinds of model for which "
    "its authors made a method."
)
EQUAL_COST = (
    "Accuracy of the method at its defaults minus that of each control at the same cost, in "
    "points. A control runs at several savings, and its accuracy between two of them is "
    "interpolated linearly in the cost of each seed. Full training counts as the setting of a "
    "control that saves nothing. A method that costs more than full training is compared with "
    "full training. The comparison is paired by seed and test sample. "
    f"{TEST_DRAW} Each interval contains "
    "the intervals over the pairs and over the models, and is not corrected for the number of "
    "comparisons. p (beats all): one-sided, for the null hypothesis that at least one control is "
    "as good. It is the largest p of the three controls (an intersection-union test). p (worse): "
    "one-sided, for the null hypothesis that no control is better, with Bonferroni's correction "
    "over the three controls. Both are "
    "Holm-adjusted over the methods and significant below 0.025. Pairs: pairs that are compared. A "
    "pair counts for a control only with all of its seeds. It is left out if a run of the method, "
    "of full training or of this control has no result. It is also left out if a run of the method "
    "costs less than the cheapest "
    "setting of this control. The number is that of the control with the fewest pairs. Cheaper "
    "than the controls: pairs left out for every control because a run of the method costs less. "
    "With fewer "
    f"than {LEAST} pairs or a missing run, nothing is tested. Detectable: smallest difference that "
    f"an uncorrected test at 5 % finds with {100 * POWER:g} % power, for the control where it is "
    "largest."
)
TARGET = (
    f"Target: final score of full training with the same seed, minus {MARGIN:g} points. It is "
    "checked at the end of every epoch. A score after an epoch may use only a part of the test "
    "samples. The target then uses the same part. Reached: number of runs at the defaults that "
    "reach the target, of all finished and diverged runs that have a target and scores after "
    "every epoch. FLOPs and time: median over the runs as a share of full training's total, "
    "decisions included. A run that never reaches the target, or diverges, counts as infinitely "
    "long. Neither includes evaluations. “–” means that half of the runs or more do not reach the "
    "target or that no run can be judged. For times, it also means that they cannot be compared. "
    f"{SLOWED_MARK} runs probably shared their CPU with another process, so their times are "
    "unreliable."
)
ORACLE = (
    "Oracle: {names}. An oracle needs a fully trained model of the same task. The cost of that "
    "model is not counted, so an oracle has no rank."
)
UNFINISHED = (
    "n of N runs: only n runs have a result that can be compared with full training of their seed. "
    "Without all N runs, a method is listed last and has no rank."
)

PARTIAL = (
    "No runs on some of the pairs: {names}. The mean over other pairs cannot be compared, so such "
    "a method is listed last and has no rank."
)


def build_ranking(standings: Sequence[Standing], title: str, notes: Sequence[str]) -> Table:
    """Return the table of hypervolumes and ranks."""
    rows = [_build_ranking_row(standing) for standing in standings]
    oracles = ", ".join(
        standing.contestant.name for standing in standings if standing.contestant.is_oracle
    )
    extra = [ORACLE.format(names=oracles)] if oracles else []
    every = {pair for standing in standings for pair in standing.contestant.points}
    partial = [s.contestant.name for s in standings if s.contestant.points.keys() < every]
    extra += [PARTIAL.format(names=", ".join(partial))] if partial else []
    extra += [UNFINISHED] * any(row["runs"] != row["planned_runs"] for row in rows)
    return Table(title, RANKING_COLUMNS, rows, (), [RANKING, *extra, *describe_marks(rows), *notes])


def _build_ranking_row(standing: Standing) -> Row:
    contestant = standing.contestant
    runs, planned = contestant.runs
    return {
        "rank": standing.rank,
        "method": contestant.name,
        "mark": format_mark(contestant, _list_kinds(contestant)),
        **expand_interval("hypervolume", standing.hypervolume),
        "rank_range": standing.rank,
        "rank_range_low": standing.rank_range[0],
        "rank_range_high": standing.rank_range[1],
        "runs": runs,
        "planned_runs": planned,
        "settings": sum(len(points) for points in contestant.points.values()),
        "saved": standing.saved,
        **expand_interval("difference", standing.difference),
        "detectable": compute_detectable_difference(standing.difference),
        "made_for": format_authors_kinds(contestant),
    }


def build_equal_cost_part(standings: Sequence[Standing], title: str) -> Table:
    """Return the table that compares each method with the controls at its own cost."""
    rows = [
        _build_equal_cost_row(standing)
        for standing in standings
        if not standing.contestant.is_control
    ]
    return Table(title, EQUAL_COST_COLUMNS, rows, (), [EQUAL_COST, *describe_marks(rows)])


def _build_equal_cost_row(standing: Standing) -> Row:
    values: dict[str, Value] = {
        "method": standing.contestant.name,
        "mark": format_mark(standing.contestant, _list_kinds(standing.contestant)),
        "saved": standing.saved,
    }
    against = {name: standing.against.get(name, NO_INTERVAL) for name in CONTROLS}
    for name, interval in against.items():
        values |= expand_interval(name, interval)
    compared = min(standing.compared.values(), default=0)
    beyond = f", {standing.beyond} cheaper than the controls" if standing.beyond else ""
    values |= {
        "pairs": f"{compared} of {len(standing.contestant.points)}{beyond}",
        "outcome": standing.outcome,
        "worse_than": ", ".join(standing.worse_than),
        "p_better": standing.p_better,
        "p_worse": standing.p_worse,
        # Unlike max, np.max gives NaN if it is unknown for any control.
        "detectable": float(np.max([compute_detectable_difference(i) for i in against.values()])),
    }
    return values


def build_target_part(reached: Mapping[str, Reached], title: str) -> Table:
    """Return the table of costs and times until the target is reached.

    reached: results by method.
    """
    rows: list[Row] = [
        {
            "method": name,
            "mark": "",
            "reached": f"{result.reached} of {result.runs}",
            "runs": result.runs,
            "reached_runs": result.reached,
            "flops": result.flops,
            "seconds": result.seconds,
            "time_mark": f" {SLOWED_MARK}" * result.slowed,
        }
        for name, result in reached.items()
    ]
    columns = (
        METHOD,
        text_column("Reached", "reached"),
        percent_column("FLOPs (% of full training)", "flops"),
        percent_column("Time (% of full training)", "seconds", mark="time_mark"),
    )
    return Table(title, columns, rows, (), [TARGET])


def format_mark(contestant: Contestant, kinds: Sequence[str]) -> str:
    """Return the mark after a method's name.

    The mark shows the role of the method, and whether its authors made it for other kinds of model.
    kinds: the kinds of model that the method's runs train.
    """
    made_for = _find_made_for(contestant)
    other = set(kinds) - set(made_for) if made_for else set()
    mark = (OUTSIDE if other == set(kinds) else PARTLY) if other else ""
    role = " (control)" if contestant.is_control else " (oracle)" * contestant.is_oracle
    return f"{mark}{role}"


def describe_marks(rows: Sequence[Row]) -> list[str]:
    """Return a note for each mark that occurs in the rows."""
    used = {str(row["mark"]).partition(" ")[0] for row in rows}
    return [f"{mark} {note}" for mark, note in MARKS.items() if mark in used]


def format_authors_kinds(contestant: Contestant) -> str:
    """Return the kinds of model for which the authors made a method; '' for controls."""
    return ", ".join(_find_made_for(contestant))


def _find_made_for(contestant: Contestant) -> tuple[str, ...]:
    strategies = {
        str(run.get("strategy", contestant.name))
        for point in contestant.defaults.values()
        for run in point.cell.runs
    }
    facts = [find_built_in().get(name) for name in strategies]
    return next((fact.made_for for fact in facts if fact), ())


def _list_kinds(contestant: Contestant) -> list[str]:
    """Return the kinds of model in a method's pairs."""
    cells = [point.cell for point in contestant.defaults.values()]
    return [str(run.get("kind", "")) for cell in cells for run in cell.runs]
