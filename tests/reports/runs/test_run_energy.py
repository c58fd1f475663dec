"""Tests of the energy of runs in the tables."""

import math

import pytest

from bench.errors import UserError
from reports.document.profile import Profile
from reports.document.table import DASH
from reports.page.run_details import DetailsByRow
from reports.publishing.build import build_report
from reports.runs.run_table import Reader
from tests.support.synthetic_results import PROFILE, list_runs, write_run

RUNS = list_runs(["vgg11"], ["cifar10"], ["full", "smartfrz"], seeds=2)


def measure(joules, watts=10.0, why=""):
    return {"joules": joules, "idle_watts": watts, "why": why}


def read_column(report):
    """Return the column of energy of the table of costs, by method."""
    costs = next(part for part in report.parts if "costs:" in part.title)
    column = next(column for column in costs.columns if column.head == "Energy (J)")
    return {str(row["method"]): column.text(row) for row in costs.rows}


def write(results, *energies):
    for run, energy in zip(RUNS, energies, strict=True):
        write_run(results, run, **({} if energy is None else {"energy": energy}))
    return Reader(results)


def test_energy_is_a_mean_with_the_idle_power_if_every_run_has_it(tmp_path):
    reader = write(
        tmp_path,
        {"cpu": measure(1000.0)},
        {"cpu": measure(1100.0, watts=12.0)},
        {"cpu": measure(900.0)},
        {"cpu": measure(None, why="another process")},
    )
    report = build_report("table2", RUNS, reader, PROFILE)
    assert read_column(report) == {"full": "1,050 (idle 11.00 W)", "smartfrz": DASH}
    full, smartfrz = DetailsByRow(report, Profile.of(PROFILE)).all
    assert dict(full.facts)["Energy"] == "1,050 ± 70.71 J, idle 11.0 W"
    assert dict(smartfrz.facts)["Energy"] == DASH
    assert [run.energy for run in smartfrz.runs] == ["900.0", DASH]


def test_results_of_earlier_releases_have_no_energy(tmp_path):
    report = build_report("table2", RUNS, write(tmp_path, *[None] * 4), PROFILE)
    assert set(read_column(report).values()) == {DASH}


def test_energy_of_a_gpu_run_is_that_of_the_gpu(tmp_path):
    both = {"cpu": measure(500.0), "gpu": measure(2000.0, watts=70.0)}
    hidden = {"cpu": measure(500.0), "gpu": measure(None, why="2 processes used the GPU")}
    frame = write(tmp_path, both, hidden, None, None).read_runs(RUNS)
    assert list(frame.energy_j[:1]) == [2000.0]
    assert list(frame.idle_watts[:1]) == [70.0]
    assert all(math.isnan(value) for value in frame.energy_j[1:])


def test_energy_is_not_averaged_over_devices(tmp_path):
    reader = write(tmp_path, *[{"cpu": measure(1000.0)}] * 4)
    write_run(tmp_path, RUNS[0], energy={"cpu": measure(1000.0)}, device="another CPU")
    report = build_report("table2", RUNS, reader, PROFILE)
    assert read_column(report)["full"] == DASH


def test_damaged_energy_is_named(tmp_path):
    for damaged in (5, {"cpu": 5}, {"cpu": measure("many")}):
        with pytest.raises(UserError, match=r"result\.json: energy is damaged"):
            write(tmp_path, {"cpu": measure(1.0)}, damaged, None, None).read_runs(RUNS)
