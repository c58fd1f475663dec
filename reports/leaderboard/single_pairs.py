"""Table of the leaderboard's language tasks, with each pair of model and task on its own."""

from __future__ import annotations

from collections.abc import Mapping

from reports.comparison.against_full import find_verdict
from reports.comparison.against_full_table import BY_SEED, DETECTABLE, SEEDS, VERDICT
from reports.comparison.method_rows import expand_interval
from reports.document.captions import format_seed_count
from reports.document.difference_column import difference_column
from reports.document.profile import Profile
from reports.document.table import (
    PAIR_COLUMNS,
    Row,
    Table,
    Value,
    mean_sd_column,
    percent_column,
)
from reports.leaderboard.contestants import CONTROLS, Contestant, Point
from reports.leaderboard.control_curves import compare_with_curve
from reports.leaderboard.parts import METHOD, describe_marks, format_mark
from reports.leaderboard.standings import compute_volume
from reports.sampling import Pair
from reports.statistics import Interval, compute_detectable_difference

COMPACT = (  # for a terminal
    METHOD,
    SEEDS,
    mean_sd_column("Score", "score"),
    percent_column("Saved (%)", "saved"),
    BY_SEED,
    VERDICT,
)
MEANING = (
    "Each pair of model and task on its own, at the methods' defaults. Score: accuracy in "
    "percent, 100 × the Matthews correlation, or −100 × the loss of a language model in nats per "
    "word. A difference of 1 point of the latter is 1 % of perplexity. Saved: exact FLOPs, where "
    "the FLOPs of decisions count as a cost. Difference: score minus that of full training in "
    "points, paired by seed. “(4 of 5 seeds)” means that only four of five seeds have a result of "
    "both the method and full training. The columns that begin with − compare with each control "
    "at equal cost. They are “–” if a run of the method, of full training or of the control has "
    "no result. They are also “–” if a run of the method costs less than the cheapest setting of "
    "the control. The intervals of a single pair cover seeds and test draw, and are not corrected "
    "for the number of comparisons. No claim over models rests on them. LoRA is no freezing "
    "method. It trains small matrices next to frozen weights, and is shown because it is the "
    "usual choice for fine-tuning language models."
)


def build_language_part(
    contestants: Mapping[str, Contestant], profile: Profile, title: str
) -> Table:
    """Return a table with one row for each pair and method, without the controls."""
    pairs = list(
        dict.fromkeys(pair for contestant in contestants.values() for pair in contestant.points)
    )
    rows = [
        _build_row(pair, contestant, contestants, profile)
        for pair in pairs
        for contestant in contestants.values()
        if pair in contestant.points and not contestant.is_control
    ]
    used = [name for name in CONTROLS if name in contestants]
    columns = (
        *COMPACT,
        DETECTABLE,
        *(difference_column(f"− {name} [95 %]", name) for name in used),
        percent_column("Hypervolume (%)", "hypervolume"),
    )
    return Table(title, columns, rows, PAIR_COLUMNS, [MEANING, *describe_marks(rows)])


def _build_row(
    pair: Pair, contestant: Contestant, contestants: Mapping[str, Contestant], profile: Profile
) -> Row:
    points = contestant.points[pair]
    point = points[0]
    difference = point.difference.interval
    kinds = [str(run.get("kind", "")) for run in point.cell.runs]
    values: dict[str, Value] = {
        "model": profile.format_name(pair[0]),
        "dataset": profile.format_name(pair[1]),
        "method": contestant.name,
        "mark": format_mark(contestant, kinds),
        "cell": str(point.cell.runs[0]["cell"]),
        "seeds": format_seed_count(point.cell),
        "score": point.cell.mean("accuracy"),
        "score_sd": point.cell.sd("accuracy"),
        "saved": point.saved,
        **expand_interval("difference", difference),
        "paired_seeds": difference.n,
        "wanted": point.cell.wanted,
        "verdict": find_verdict(difference, complete=point.complete) or None,
        "detectable": compute_detectable_difference(difference),
        "hypervolume": compute_volume(points),
    }
    for name in CONTROLS:
        if name in contestants:
            values |= expand_interval(name, _compare(point, contestants[name], pair))
    return values


def _compare(point: Point, control: Contestant, pair: Pair) -> Interval:
    return compare_with_curve(point, control.points.get(pair, ())).interval
