"""Leaderboard: all strategies at their defaults, compared with the controls at equal cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pandas as pd

from bench.spec import FULL
from reports.comparison.against_full_table import AgainstFull, build_against_full
from reports.document import captions
from reports.document.profile import Profile
from reports.document.report import Report
from reports.document.table import Table
from reports.leaderboard.answer import build_answer_table
from reports.leaderboard.contestants import Contestant, collect_contestants
from reports.leaderboard.parts import (
    EQUAL_COST_COMPACT,
    RANKING_COMPACT,
    build_equal_cost_part,
    build_ranking,
    build_target_part,
)
from reports.leaderboard.single_pairs import COMPACT as LANGUAGE_COMPACT
from reports.leaderboard.single_pairs import build_language_part
from reports.leaderboard.standings import Standing, compute_standings
from reports.leaderboard.time_to_target import Reached, make_full_points, measure_time_to_target
from reports.runs.cells import Cell, build_cells
from reports.runs.run_table import Reader

NAME = "leaderboard"
TITLE = "Leaderboard of freezing strategies"
COMPACT = {  # by part
    "_ranking": RANKING_COMPACT,
    "_equal_cost": EQUAL_COST_COMPACT,
    "_language": LANGUAGE_COMPACT,
}
LANGUAGE = ("text classifier", "language model")  # kinds of model (bench.models.kinds)


def build_report(frame: pd.DataFrame, reader: Reader, profile: Profile) -> Report:
    """Return the leaderboard. Text models are shown pair by pair and are not ranked."""
    cells = build_cells(frame)
    images = [cell for cell in cells if cell.runs[0].get("kind") not in LANGUAGE]
    texts = [cell for cell in cells if cell.runs[0].get("kind") in LANGUAGE]
    here = f"({profile.name} profile)"
    notes = [
        profile.sentence,
        *captions.describe_devices_and_predictor(cells, profile),
        captions.SHARED,
    ]
    notes += captions.list_failures(cells, profile)
    score = captions.name_score(set(frame.metric))
    points = build_against_full(frame, profile, None, TITLE, (), score, captions.SHARED)
    parts = {"": build_answer_table([], here[1:-1])} if not images else {}
    if images:
        parts |= _build_image_parts(images, reader, here, notes)
    if texts:
        title = f"{TITLE}: language tasks {here}"
        contestants = collect_contestants(texts)
        parts["_language"] = build_language_part(contestants, profile, title)
    return _assemble(frame, parts, points)


def _build_image_parts(
    cells: Sequence[Cell], reader: Reader, here: str, notes: Sequence[str]
) -> dict[str, Table]:
    """Return the parts that show image models. A key is the suffix of the part's file name."""
    contestants = collect_contestants(cells)
    standings = compute_standings(contestants)
    reached = _measure_targets(cells, standings, contestants, reader)
    return {
        "": build_answer_table(standings, here[1:-1]),
        "_ranking": build_ranking(standings, f"{TITLE}: ranking {here}", notes),
        "_equal_cost": build_equal_cost_part(standings, f"{TITLE}: at equal cost {here}"),
        "_target": build_target_part(reached, f"{TITLE}: cost to the target {here}"),
    }


def _measure_targets(
    cells: Sequence[Cell],
    standings: Sequence[Standing],
    contestants: Mapping[str, Contestant],
    reader: Reader,
) -> dict[str, Reached]:
    """Return how soon full training and each method at its defaults reach the target."""
    full = make_full_points({cell.roles[:2]: cell for cell in cells if cell.roles[2] == FULL})
    found = {FULL: measure_time_to_target(full, reader.results)}
    for standing in standings:
        if not standing.contestant.is_control:
            points = list(contestants[standing.contestant.name].defaults.values())
            found[standing.contestant.name] = measure_time_to_target(points, reader.results)
    return found


def _assemble(frame: pd.DataFrame, parts: Mapping[str, Table], points: AgainstFull) -> Report:
    """Return the report. The answer comes first, and every setting of every method last."""
    shown = [part for part in parts.values() if part.rows]
    numbers = {f"{NAME}{end}": part for end, part in parts.items() if part.rows}
    return Report(
        NAME,
        TITLE,
        (*shown, points.against),
        (),
        frame,
        compact=tuple(
            replace(part, columns=COMPACT.get(end, part.columns))
            for end, part in parts.items()
            if part.rows
        ),
        numbers={**numbers, f"{NAME}_settings": points.results},
        score=points.score,
    )
