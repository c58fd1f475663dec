"""Language tasks are shown pair by pair, with marks for methods outside their authors' setting."""

import math

import pytest

from reports.document.profile import Profile
from reports.leaderboard.contestants import collect_contestants
from reports.leaderboard.parts import format_mark
from reports.leaderboard.single_pairs import COMPACT, build_language_part
from reports.runs.cells import Cell
from tests.support.leaderboard_cells import make_cell

PAIR = ("llama", "grammar")


def make(method: str, accuracies: list[float], cost: float, strategy: str = "") -> Cell:
    cell = make_cell((*PAIR, method), accuracies, cost, wanted=3)
    facts = {"kind": "language model", "strategy": strategy or method}
    return Cell(cell.roles, [{**run, **facts} for run in cell.runs])


def test_each_row_compares_a_method_with_full_training_and_with_each_control() -> None:
    cells = [
        make("full", [90, 90.5, 91], 1.0),
        make("lisa", [89, 89, 90], 0.8),
        make("slimfit", [89, 90], 0.8),
        make("lora", [90, 90.5, 91], 0.8, strategy="probe"),
        make("prefix, 40 %", [86, 86.5, 87], 0.6, strategy="prefix"),
    ]
    table = build_language_part(collect_contestants(cells), Profile("laptop"), "Language")
    rows = {str(row["method"]): row for row in table.rows}
    assert {name: row["mark"] for name, row in rows.items()} == {
        "lisa": "",
        "slimfit": "*",
        "lora": "",
    }
    assert any(note.startswith("* the authors") for note in table.notes)
    assert rows["lisa"]["difference"] == pytest.approx((-1 - 1.5 - 1) / 3)
    # At a cost of 0.8, halfway between full training and the control: 88, 88.5 and 89.
    assert rows["lisa"]["prefix"] == pytest.approx((1 + 0.5 + 1) / 3)
    assert rows["lora"]["difference"] == 0
    assert rows["lora"]["verdict"] == "non-inferior"
    assert rows["lisa"]["hypervolume"] == pytest.approx(0.2 * (5 - 3.5 / 3) / 3)
    assert rows["slimfit"]["seeds"] == "2 of 3"
    assert rows["slimfit"]["verdict"] == "inconclusive"
    assert math.isnan(float(rows["slimfit"]["detectable"] or 0))
    assert "− at_once [95 %]" not in [column.head for column in table.columns]


def test_a_difference_over_fewer_seeds_than_wanted_is_marked() -> None:
    cells = [
        make("full", [90, 90.5, 91], 1.0),
        make("lisa", [89, 89, 90], 0.8),
        make("slimfit", [89, 90], 0.8),
        make("lora", [], 0.8),
    ]
    table = build_language_part(collect_contestants(cells), Profile("laptop"), "Language")
    for columns in (table.columns, COMPACT):
        (column,) = [each for each in columns if each.key == "difference"]
        texts = {str(row["method"]): column.text(row) for row in table.rows}
        assert texts["slimfit"].endswith("] (2 of 3 seeds)")
        assert texts["lisa"].endswith("]")
        assert texts["lora"] == "–"


def test_a_control_without_a_result_for_a_seed_is_not_compared() -> None:
    cells = [
        make("full", [90, 90.5, 91], 1.0),
        make("lisa", [89, 89, 90], 0.8),
        make("prefix, 10 %", [89, 89], 0.9, strategy="prefix"),
        make("prefix, 40 %", [86, 86.5, 87], 0.6, strategy="prefix"),
    ]
    (row,) = build_language_part(collect_contestants(cells), Profile("laptop"), "Language").rows
    assert math.isnan(float(row["prefix"] or 0))


def test_a_control_is_compared_only_with_all_seeds_of_a_method() -> None:
    cells = [
        make("full", [90, 90.5, 91], 1.0),
        make("lisa", [89, 60, 90], 0.8),
        make("prefix, 40 %", [86, 86.5, 87], 0.6, strategy="prefix"),
    ]
    cells[1].runs[0]["exact_total"] /= 2  # costs less than the control
    (row,) = build_language_part(collect_contestants(cells), Profile("laptop"), "Language").rows
    assert math.isnan(float(row["prefix"] or 0))
    assert row["difference"] == pytest.approx((-1 - 30.5 - 1) / 3)


@pytest.mark.parametrize(
    ("strategy", "kinds", "mark"),
    [
        ("pipetransformer", ["vision transformer", "text classifier"], ""),
        ("pipetransformer", ["vision transformer", "convolutional network"], "(*)"),
        ("pipetransformer", ["convolutional network"], "*"),
        ("probe", ["convolutional network"], ""),  # it has no authors
        ("prefix", ["convolutional network"], " (control)"),
    ],
)
def test_the_mark_says_for_how_many_of_the_models_a_method_was_made(
    strategy: str, kinds: list[str], mark: str
) -> None:
    found = collect_contestants([make("full", [90], 1.0), make(strategy, [89], 0.9)])[strategy]
    assert format_mark(found, kinds) == mark
