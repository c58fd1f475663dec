"""Search of learning rates: one grid for full and prefix, on validation data, and resumable."""

from pathlib import Path

import pytest

from bench.cli.main import main
from bench.errors import UserError
from bench.planning.sweep import load_sweep
from bench.planning.sweep_files import load_sweep_file
from bench.planning.tuning import TuningGrid, make_tuning_sweep
from bench.results.run_folder import RunFolder
from reports.comparison.tuning_table import find_best, read_tuning_rows


def make(grid: TuningGrid | None = None, **changes: object):
    return make_tuning_sweep(
        "vgg11", "cifar10", "laptop", grid or TuningGrid(), saving=0.3, changes=changes
    )


def test_full_and_prefix_get_the_same_grid_on_validation_data() -> None:
    sweep = make(train_limit=64)
    points = {"full": set(), "prefix": set()}
    for entry in sweep.entries:
        spec = entry.spec
        assert (spec.evaluate_on, spec.train_limit, spec.seed) == ("validation", 64, 0)
        points[spec.strategy].add((spec.lr, spec.warmup, spec.weight_decay))
    assert points["full"] == points["prefix"]
    assert {lr for lr, _, _ in points["full"]} == {0.004, 0.012, 0.04, 0.12}  # the profile has 0.04
    assert {(warmup, decay) for _, warmup, decay in points["full"]} == {
        (0.0, 1e-4), (0.1, 1e-4), (0.0, 1e-3), (0.1, 1e-3)
    }  # fmt: skip
    assert all(e.spec.options == {"saving": 0.3} for e in sweep.entries if "prefix" in e.spec.label)


def test_the_test_set_is_refused() -> None:
    with pytest.raises(UserError, match=r"never reads the test set; remove --evaluate-on test"):
        make(evaluate_on="test")
    assert make(evaluate_on="validation").entries


def test_values_that_differ_in_any_digit_are_all_searched() -> None:
    rates = (0.1234567, 0.1234568, 1e-5, 1.0000001e-5)
    sweep = make(TuningGrid(rates, (0.0,), (1e-4, 1.00000001e-4)))
    for strategy in ("full", "prefix"):
        specs = [e.spec for e in sweep.entries if e.spec.strategy == strategy]
        assert {spec.lr for spec in specs} == set(rates)
        assert len({spec.cell for spec in specs}) == len(specs) == 8


def test_a_saving_of_zero_is_refused() -> None:
    with pytest.raises(UserError, match="--saving 0 saves nothing"):
        make_tuning_sweep("vgg11", "cifar10", "laptop", TuningGrid(), saving=0.0)


def test_the_best_setting_has_the_best_validation_score(tmp_path: Path) -> None:
    specs = [e.spec for e in make(TuningGrid((0.01, 0.02, 0.03), (0.0,), (1e-4,))).entries]
    assert find_best(read_tuning_rows(specs, tmp_path), "full") is None
    outcomes = [("done", 80.0), ("done", 81.0), ("diverged", None), ("done", 85.0), ("done", 85.0)]
    for spec, (status, score) in zip(specs, outcomes, strict=False):
        folder = RunFolder(tmp_path, spec.id)
        folder.create()
        values = {"status": status, "accuracy": score, "metric": "accuracy", "eval_count": 400}
        folder.write("result.json", values)
    rows = read_tuning_rows(specs, tmp_path)
    assert find_best(rows, "full").spec.lr == 0.02
    assert find_best(rows, "prefix").spec.lr == 0.01  # of equal scores, the lower rate
    assert [row.state for row in rows] == [*["1 of 1"] * 2, "diverged", *["1 of 1"] * 2, "0 of 1"]


def test_the_command_prints_both_results_and_reuses_its_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [
        "tune", "vgg11", "cifar10", "--lr", "1e-7,0.04", "--warmup", "0", "--weight-decay", "1e-4",
        "--epochs", "1", "--train-limit", "96", "--workers", "1", "--results", str(tmp_path),
    ]  # fmt: skip
    assert main(command) == 0
    text = capsys.readouterr().out
    assert '[pairs."vgg11/cifar10"]' in text
    assert "lr = 0.04\nwarmup = 0.0\nweight_decay = 0.0001" in text
    assert text.count("best") >= 2
    assert "prefix" in text
    runs = sorted(tmp_path.glob("runs/*/result.json"))
    times = [path.stat().st_mtime_ns for path in runs]
    assert len(runs) == 4
    assert main(command) == 0
    assert "4 done, 0 to do" in capsys.readouterr().out
    assert times == [path.stat().st_mtime_ns for path in runs]
    with pytest.raises(SystemExit):  # the test set cannot be chosen
        main([*command, "--evaluate-on", "test"])


@pytest.mark.parametrize("profile", ["laptop", "desk"])
def test_the_sensitivity_sweep_trains_every_method_at_three_rates(profile: str) -> None:
    methods = {entry.roles["method"] for entry in load_sweep("table2", profile, seeds=1).entries}
    rates: dict[tuple[str, ...], set[float]] = {}
    names = load_sweep_file("rates")[1].all_methods
    assert {method.strategy or method.name for method in names} == methods
    sweep = load_sweep("rates", profile, seeds=1)
    shared = {e.spec.id for e in load_sweep("table2", profile, seeds=1).entries}
    for entry in sweep.entries:
        key = entry.roles["model"], entry.roles["dataset"], entry.spec.strategy
        rates.setdefault(key, set()).add(entry.spec.lr)
        assert ("," not in entry.roles["method"]) == (entry.spec.id in shared)
    for found in rates.values():
        low, middle, high = sorted(found)
        assert (middle / low, high / middle) == (pytest.approx(3), pytest.approx(3))
