"""Plain answer of the leaderboard: the methods that beat the controls at equal cost."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from reports.document.table import Row, Table, text_column
from reports.leaderboard.contestants import CONTROLS
from reports.leaderboard.standings import BEATS, LOSES, NOT_TESTED, UNDECIDED, Standing

WIDTH = 84  # characters of a line of names, so that a terminal shows all of them
HEADS = {
    BEATS: "beats every control",
    LOSES: "worse than a control",
    UNDECIDED: "undecided",
    NOT_TESTED: "not tested",
}
MEANING = (
    "Every method runs at its own defaults. It is compared with each control "
    f"({', '.join(CONTROLS)}) at its own cost in exact FLOPs, decisions included. Beats every "
    "control: it is better than each of them. Worse than a control: at least one is better. Both "
    "tests are one-sided at 2.5 % and Holm-adjusted over the methods. Each is made over the pairs "
    "and over the models, and the larger p counts. In brackets: controls that are better after the "
    "same correction. Undecided: the runs show neither. Not tested: a run has no result, or a "
    "control can be compared on fewer than three pairs."
)


def write_headline(standings: Sequence[Standing]) -> str:
    """Return the answer as one sentence with the number of methods of each outcome."""
    judged = [standing for standing in standings if not standing.contestant.is_control]
    tested = [standing for standing in judged if standing.outcome != NOT_TESTED]
    if not tested:
        return "No answer yet, because no method can be tested against the controls at equal cost"
    names = _list_names(tested, BEATS)
    if names:
        first = f"{', '.join(names)} beat{'s' * (len(names) == 1)} every control at equal cost"
    else:
        first = "No method is shown to beat the controls at equal cost"
    counts = {
        "worse than a control": len(_list_names(tested, LOSES)),
        "undecided": len(_list_names(tested, UNDECIDED)),
        "not tested": len(judged) - len(tested),
    }
    rest = [f"{n} {'is' if n == 1 else 'are'} {what}" for what, n in counts.items() if n]
    if not rest:
        return first
    listed = " and ".join(filter(None, (", ".join(rest[:-1]), rest[-1])))
    return f"{first}; of {len(judged)} method{'s' * (len(judged) != 1)}, {listed}"


def build_answer_table(standings: Sequence[Standing], title: str) -> Table:
    """Return the answer as a table with the names of the methods of each outcome."""
    judged = [standing for standing in standings if not standing.contestant.is_control]
    rows: list[Row] = []
    for outcome, head in HEADS.items():
        names = [_describe(standing) for standing in judged if standing.outcome == outcome]
        for number, line in enumerate(textwrap.wrap(", ".join(names), WIDTH) or ["none"]):
            rows.append({"answer": head if number == 0 else " ", "methods": line})
    columns = (text_column("At equal cost", "answer"), text_column("Methods", "methods"))
    return Table(f"{write_headline(standings)} ({title})", columns, rows, (), [MEANING])


def _list_names(standings: Sequence[Standing], outcome: str) -> list[str]:
    return [standing.contestant.name for standing in standings if standing.outcome == outcome]


def _describe(standing: Standing) -> str:
    """Return a method's name, followed by the controls that are better, if any."""
    if not standing.worse_than:
        return standing.contestant.name
    *first, last = standing.worse_than
    return (
        f"{standing.contestant.name} (than {' and '.join(filter(None, (', '.join(first), last)))})"
    )
