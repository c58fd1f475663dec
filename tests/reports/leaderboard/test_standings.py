"""Methods beat the controls only if they beat each of them, over pairs and over models."""

import math
from dataclasses import replace

import numpy as np
import pytest

from reports.leaderboard import standings
from reports.leaderboard.answer import build_answer_table, write_headline
from reports.leaderboard.contestants import CONTROLS, Contestant, collect_contestants
from reports.leaderboard.parts import UNFINISHED, build_equal_cost_part, build_ranking
from reports.leaderboard.standings import (
    Standing,
    compute_standings,
    find_better_controls,
)
from reports.runs.run_table import DIVERGED, MISSING
from reports.statistics import NO_INTERVAL, ONE_SIDED, apply_holm, compute_detectable_difference
from tests.support.leaderboard_cells import make_cell

PAIRS = [(model, data) for model in "abcd" for data in ("10", "100")]
COSTS = (0.9, 0.6, 0.4)
SLOPES = {"prefix": 10.0, "at_once": 4.0, "shortened": 6.0}  # points lost when nothing is spent


def collect(losses: dict[str, float], cost: float = 0.75, absent: int = 0) -> dict:
    """Return contestants. losses: points that a method loses, apart from small random effects."""
    draw = np.random.default_rng(0)
    cells = []
    for pair in PAIRS:
        level = 80 + draw.normal(0, 1, 3)
        cells.append(make_cell((*pair, "full"), level, 1.0))
        for control, slope in SLOPES.items():
            for each in COSTS:
                noise = draw.normal(0, 0.2, 3)
                name = f"{control}, {1 - each:.0%}"
                cells.append(make_cell((*pair, name), level - slope * (1 - each) + noise, each))
        for name, loss in losses.items():
            own = level - loss + draw.normal(0, 0.2, 3)
            cells.append(make_cell((*pair, name), own[: 3 - absent], cost, wanted=3))
    return collect_contestants(cells)


def judge(losses: dict[str, float], **how: float) -> dict[str, Standing]:
    return {
        standing.contestant.name: standing for standing in compute_standings(collect(losses, **how))
    }


def describe_pairs(found: dict[str, Contestant]) -> str:
    """Return the column on the pairs of method "mine"."""
    mine = next(
        standing for standing in compute_standings(found) if standing.contestant.name == "mine"
    )
    (row,) = build_equal_cost_part([mine], "a title").rows
    return str(row["pairs"])


@pytest.fixture(scope="module")
def judged() -> dict[str, Standing]:
    """Return standings at a cost of 0.75, where the controls lose 2.5, 1 and 1.5 points."""
    return judge({"best": 0.0, "between": 1.0, "middling": 2.2, "worst": 4.0})


def test_a_method_beats_the_controls_only_if_it_beats_each(judged: dict[str, Standing]) -> None:
    found = judged
    assert {name: standing.outcome for name, standing in found.items() if name not in CONTROLS} == {
        "best": "beats all",
        "between": "undecided",
        "middling": "worse",
        "worst": "worse",
    }
    assert found["best"].against["at_once"].mean == pytest.approx(1.0, abs=0.15)
    assert found["best"].against["prefix"].mean == pytest.approx(2.5, abs=0.15)
    assert found["worst"].worse_than == ["prefix", "at_once", "shortened"]
    assert found["between"].against["prefix"].low > 0  # better than one control is not enough
    assert found["best"].compared == dict.fromkeys(CONTROLS, 8)
    names = ("best", "between", "middling", "worst")
    assert [found[name].rank for name in names] == [1, 2, 3, 4]
    assert all(math.isnan(found[name].rank) for name in CONTROLS)


def test_worse_than_some_controls_names_these(judged: dict[str, Standing]) -> None:
    assert judged["middling"].worse_than == ["at_once", "shortened"]


def test_better_controls_are_found_with_the_step_of_holms_correction() -> None:
    # Five planned methods, of which three cannot be tested yet.
    tests: dict[str, dict[str, float]] = {name: {} for name in ("u", "v", "w")}
    tests["first"] = {"prefix": 0.0005, "at_once": 0.004, "shortened": 0.5}
    tests["second"] = {"prefix": 0.001, "at_once": 0.002, "shortened": 0.5}
    assert find_better_controls("first", tests) == ["prefix"]  # 0.004 × 3 controls × 5 = 0.06
    assert find_better_controls("second", tests) == ["prefix", "at_once"]  # 0.002 × 3 × 4 = 0.024
    assert find_better_controls("u", tests) == []


def test_the_control_that_makes_a_method_worse_is_always_named() -> None:
    draw, losing = np.random.default_rng(2), 0
    for _ in range(200):
        # Few different values, so that several methods have the same p.
        drawn = draw.choice([0.0, 0.001, 0.002, 0.004, 0.5], (6, 3))
        tests = {
            name: dict(zip(CONTROLS, p, strict=True))
            for name, p in zip("abcdef", drawn, strict=True)
        }
        holm = apply_holm({name: standings.compute_p_worse(p) for name, p in tests.items()})
        for name in [name for name, p in holm.items() if p < ONE_SIDED]:
            least = min(CONTROLS, key=lambda control, p=tests[name]: p[control])
            assert least in find_better_controls(name, tests)
            losing += 1
    assert losing > 100


def test_a_control_that_is_better_only_without_the_correction_is_not_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    p = {"prefix": 0.001, "at_once": 0.004, "shortened": 0.5}
    monkeypatch.setattr(
        standings, "compute_p_values", lambda _, sign: p if sign < 0 else dict.fromkeys(p, 0.5)
    )
    standing = judge(dict.fromkeys(("one", "two", "three", "four"), 2.0))["one"]
    assert standing.p_worse == pytest.approx(0.001 * 3 * 4)
    assert (standing.outcome, standing.worse_than) == ("worse", ["prefix"])


def test_a_missing_run_or_an_unreached_cost_leaves_a_method_untested() -> None:
    assert judge({"mine": 0.0}, absent=1)["mine"].outcome == "not tested"
    cheap = judge({"mine": 0.0}, cost=0.35)["mine"]
    assert (cheap.outcome, cheap.beyond) == ("not tested", 8)


def test_a_pair_in_which_one_seed_is_cheaper_than_the_controls_is_left_out() -> None:
    found = collect({"mine": 0.0})
    for pair in PAIRS[:6]:
        found["mine"].points[pair][0].cell.runs[0]["exact_total"] /= 2  # costs 0.375
    mine = next(
        standing for standing in compute_standings(found) if standing.contestant.name == "mine"
    )
    assert (mine.outcome, mine.compared["prefix"], mine.beyond) == ("not tested", 2, 6)
    (row,) = build_equal_cost_part([mine], "a title").rows
    assert row["pairs"] == "2 of 8, 6 cheaper than the controls"


@pytest.mark.parametrize("state", [MISSING, DIVERGED])
def test_controls_without_results_are_not_dearer_than_a_method(state: str) -> None:
    found = collect({"mine": 0.0}, cost=0.35)
    found["at_once"].points[PAIRS[0]][1].cell.runs[2]["state"] = state
    assert describe_pairs(found) == "0 of 8, 7 cheaper than the controls"
    found = collect({"mine": 0.0})
    for control in CONTROLS:
        for point in (point for points in found[control].points.values() for point in points):
            for run in point.cell.runs:
                run["state"] = state
    assert describe_pairs(found) == "0 of 8"


def test_a_method_without_all_runs_is_listed_last_and_has_no_rank() -> None:
    found = collect({"late": 0.0, "done": 2.0})
    found["late"].points[PAIRS[0]][0].cell.runs[1]["state"] = MISSING
    judged = compute_standings(found)
    ranks = {standing.contestant.name: standing.rank for standing in judged}
    assert ranks["done"] == 1
    assert all(math.isnan(rank) for name, rank in ranks.items() if name != "done")
    table = build_ranking(judged, "a title", [])
    assert [column.text(table.rows[-1]) for column in table.columns[:2]] == [
        "–",
        "late (23 of 24 runs)",
    ]
    assert UNFINISHED in table.notes
    assert UNFINISHED not in build_ranking(judged[:1], "a title", []).notes
    # The pair without all seeds is not compared.
    assert judged[-1].compared == dict.fromkeys(CONTROLS, 7)


def test_equal_methods_share_a_rank_that_is_printed_in_full() -> None:
    cells = [make_cell((*pair, "full"), [90, 91, 92], 1.0) for pair in PAIRS]
    cells += [make_cell((*pair, "best"), [90, 91, 91], 0.7) for pair in PAIRS]
    for name in ("one", "two"):
        cells += [make_cell((*pair, name), [50, 51, 52], 0.7) for pair in PAIRS]
    table = build_ranking(compute_standings(collect_contestants(cells)), "a title", [])
    rank, _, _, rank_range = table.columns[:4]
    assert [rank.text(row) for row in table.rows] == ["1", "2.5", "2.5"]
    assert [rank_range.text(row) for row in table.rows] == ["1 [1, 1]", *["2.5 [2.5, 2.5]"] * 2]


def test_the_detectable_difference_needs_every_control(judged: dict[str, Standing]) -> None:
    best, known = judged["best"], judged["best"].against
    for name in CONTROLS:
        against = {each: NO_INTERVAL if each == name else known[each] for each in CONTROLS}
        (row,) = build_equal_cost_part([replace(best, against=against)], "a title").rows
        assert math.isnan(float(row["detectable"] or 0))
    (row,) = build_equal_cost_part([best], "a title").rows
    largest = max(compute_detectable_difference(interval) for interval in known.values())
    assert row["detectable"] == largest


def test_the_outcome_needs_all_runs_of_the_controls() -> None:
    gone = {name: each for name, each in collect({"mine": 0.0}).items() if name != "prefix"}
    mine = next(s for s in compute_standings(gone) if s.contestant.name == "mine")
    assert mine.outcome == "not tested"


def test_p_values_correct_for_the_controls_as_worked_out_by_hand() -> None:
    p = {"prefix": 0.001, "at_once": 0.004, "shortened": 0.02}
    assert standings.compute_p_better(p) == 0.02
    assert standings.compute_p_worse(p) == pytest.approx(0.003)
    assert math.isnan(standings.compute_p_better(p | {"prefix": math.nan}))
    assert math.isnan(standings.compute_p_worse({}))


def test_a_method_as_good_as_the_best_control_rarely_beats_it() -> None:
    """Draw effects by model.

    In each direction, at most 2.5 % of the tests may be significant, apart from chance.
    """
    draw, better, worse, rounds = np.random.default_rng(1), 0, 0, 400
    for _ in range(rounds):
        models = dict(zip("abcd", draw.normal(0, 0.5, 4), strict=True))
        pairs = {}
        for control, gap in (("prefix", 3.0), ("at_once", 0.0), ("shortened", 1.0)):
            pairs[control] = {pair: gap + models[pair[0]] + draw.normal(0, 0.3) for pair in PAIRS}
        p = {
            sign: {
                name: standings.pooling.compute_largest_p(
                    lambda v, d, s=sign: standings._compute_p(v, d, s), values
                )
                for name, values in pairs.items()
            }
            for sign in (1, -1)
        }
        better += standings.compute_p_better(p[1]) < 0.025
        worse += standings.compute_p_worse(p[-1]) < 0.025
    assert 0 < better / rounds <= 0.04  # 2.5 % and three standard errors would be 4.8 %
    assert worse / rounds <= 0.025


def test_the_answer_names_every_method_once(judged: dict[str, Standing]) -> None:
    standings = list(judged.values())
    assert write_headline(standings) == (
        "best beats every control at equal cost; of 4 methods, 2 are worse than a control and 1 is "
        "undecided"
    )
    table = build_answer_table(standings, "a profile")
    worse = [
        "middling (than at_once and shortened)",
        "worst (than prefix, at_once and shortened)",
    ]
    assert [(row["answer"], row["methods"]) for row in table.rows] == [
        ("beats every control", "best"),
        ("worse than a control", ", ".join(worse)),
        ("undecided", "between"),
        ("not tested", "none"),
    ]


def test_without_results_there_is_no_answer_yet() -> None:
    cells = [
        make_cell(("a", "10", name), [], 1.0, wanted=3)
        for name in ("full", "mine", *(f"{control}, 10 %" for control in CONTROLS))
    ]
    found: dict[str, Contestant] = collect_contestants(cells)
    judged = compute_standings(found)
    assert write_headline(judged).startswith("No answer yet")
    assert {standing.outcome for standing in judged if not standing.contestant.is_control} == {
        "not tested"
    }


def test_a_method_without_results_has_no_hypervolume_and_no_rank() -> None:
    cells = [make_cell((*pair, "full"), [90, 91, 92], 1.0) for pair in PAIRS]
    cells += [make_cell((*pair, "known"), [90, 91, 91], 0.7) for pair in PAIRS]
    cells += [make_cell((*pair, "absent"), [], 0.7, wanted=3) for pair in PAIRS]
    found = compute_standings(collect_contestants(cells))
    assert [standing.contestant.name for standing in found] == ["known", "absent"]
    assert found[0].rank == 1
    assert math.isnan(found[1].rank)
    assert math.isnan(found[1].hypervolume.mean)


def test_a_method_with_runs_on_some_pairs_has_no_rank() -> None:
    found = collect({"mine": 0.0, "other": 1.0})
    del found["mine"].points[PAIRS[0]]
    ranked = compute_standings(found)
    assert ranked[-1].contestant.name == "mine"
    assert math.isnan(ranked[-1].rank)
    assert {s.contestant.name: s.rank for s in ranked}["other"] == 1
    notes = build_ranking(ranked, "a title", []).notes
    assert any(note.startswith("No runs on some of the pairs: mine.") for note in notes)


def test_pairs_of_two_models_are_too_few_for_a_test() -> None:
    found = collect({"mine": 0.0})
    for pair in PAIRS[4:]:
        del found["mine"].points[pair]
    (mine,) = (s for s in compute_standings(found) if s.contestant.name == "mine")
    assert (mine.outcome, mine.compared["prefix"]) == ("not tested", 4)
