"""Tests of the note on intervals of AutoFreeze that hold few steps."""

from pathlib import Path
from typing import Any

import pytest

from bench.planning.sweep import load_sweep
from reports.document.autofreeze_note import AUTHORS_STEPS, ONCE, describe_short_intervals
from reports.document.profile import Profile
from reports.publishing.build import build_report
from reports.publishing.from_sweep import describe_profile, list_shown_runs
from reports.runs.cells import build_cells
from reports.runs.run_table import Reader
from tests.support.synthetic_results import write_run


def write_runs(results: Path, table: str, controls: bool = False, **changes: Any) -> list[dict]:
    """Write results of one seed of a table and return its runs."""
    wanted = list_shown_runs(load_sweep(table, "laptop", controls=controls, seeds=1))
    for run in wanted:
        write_run(results, run, **changes)
    return wanted


def describe(results: Path, wanted: list[dict], has_control: bool = True) -> list[str]:
    profile = Profile(name="laptop", stands_for={"cifar10": "digits10"})
    return describe_short_intervals(
        build_cells(Reader(results).read_runs(wanted)), profile, has_control
    )


@pytest.mark.parametrize(("steps", "words"), [(60, "15 on digits10 (for cifar10)"), (200, "")])
def test_the_note_names_the_steps_of_intervals_below_fifty(
    steps: int, words: str, tmp_path: Path
) -> None:
    notes = describe(tmp_path, write_runs(tmp_path, "table2", steps_per_epoch=steps))
    assert bool(notes) == bool(words)
    assert all(f"fewer than 50 steps in these rows (autofreeze: {words}, " in n for n in notes)
    assert AUTHORS_STEPS == 25_000 // 6 * 4 // 20


def test_the_note_points_to_the_control_only_if_its_row_is_missing(tmp_path: Path) -> None:
    without = describe(tmp_path, write_runs(tmp_path, "table2"))
    assert "With --controls" in without[0]
    assert "With --controls" not in describe(tmp_path, write_runs(tmp_path, "table9"), False)[0]
    (note,) = describe(tmp_path, write_runs(tmp_path, "table2", controls=True, steps_per_epoch=40))
    assert f"; {ONCE}: 40 on " in note
    assert "With --controls" not in note


@pytest.mark.parametrize("table", ["table2", "table3", "table6", "table7", "table9"])
def test_every_table_with_autofreeze_carries_the_note(table: str, tmp_path: Path) -> None:
    sweep = load_sweep(table, "laptop", controls=True, seeds=1)
    wanted = write_runs(tmp_path, table, controls=True)
    report = build_report(table, wanted, Reader(tmp_path), describe_profile(sweep))
    for part in (report.parts[0], report.compact[0]):
        assert any(note.startswith("AutoFreeze: an interval holds") for note in part.notes)
    once = [e.spec for e in sweep.entries if e.roles["method"] == ONCE]
    assert {spec.options["M"] for spec in once} == (set() if table == "table9" else {1})


def test_table_6_shows_the_other_mode_of_dropout_in_frozen_layers() -> None:
    entries = load_sweep("table6", "laptop", seeds=1).entries
    kept = {e.roles["method"]: e.spec.frozen_dropout for e in entries}
    assert [method for method, on in kept.items() if on] == ["autofreeze, drop"]
    specs = {e.roles["method"]: e.spec for e in entries}
    other = specs["autofreeze, drop"].with_changes(frozen_dropout=False)
    assert other.id == specs["autofreeze"].id
