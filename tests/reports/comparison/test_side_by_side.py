"""Tests of `freezebench compare`: two runs, cells or sweeps side by side."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import t as student

from bench.cli.main import main
from bench.files import read_json
from bench.planning.sweep import load_sweep
from bench.results.evaluation_file import SampleOutcomes, write_evaluation
from bench.revisions import RESULTS_VERSION
from strategies.smartfrz.predictor_file import FOLDER
from tests.support.paths import ROOT, TESTS
from tests.support.synthetic_results import make_result

VERSION3 = TESTS / "reports" / "runs" / "version3"
AUTOFREEZE, LISA = "691d679cab4c", "1df6de4d74ea"


def compare(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> str:
    assert main(["compare", *arguments]) == status
    captured = capsys.readouterr()
    return captured.err if status else captured.out


def find_line(text: str, begin: str) -> str:
    return next(line for line in text.splitlines() if line.strip().startswith(begin))


def test_two_runs(capsys: pytest.CaptureFixture[str]) -> None:
    text = compare(capsys, LISA[:4], AUTOFREEZE[:4], "--results", str(VERSION3))
    assert find_line(text, "strategy").split()[1:3] == ["lisa", "autofreeze"]
    results = [read_json(VERSION3 / "runs" / run / "result.json") for run in (LISA, AUTOFREEZE)]
    gap = results[1]["accuracy"] - results[0]["accuracy"]
    assert f"{gap:+.2f} points" in find_line(text, "accuracy")
    ratio = results[1]["flops"]["exact"]["total"] / results[0]["flops"]["exact"]["total"]
    assert f"{100 * (ratio - 1):+.1f} %" in find_line(text, "FLOPs, exact")
    freeze_steps = [result["layers"][1]["frozen_at_step"] for result in results]
    name = results[0]["layers"][1]["name"]
    assert find_line(text, name).split()[1:] == [str(step) for step in freeze_steps]
    assert "model " not in text  # settings that agree are left out


def test_other_files_and_another_budget_are_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Compare two runs that differ only in the contents of their files and in their budget."""
    changes: dict[str, dict[str, Any]] = {
        "one": {"contents": {"data": "d" * 16, "weights": "e" * 16}},
        "two": {"contents": {"data": "f" * 16}, "match": ["aaaa", "bbbb"]},
    }
    for run, change in changes.items():
        folder = tmp_path / "runs" / run
        shutil.copytree(VERSION3 / "runs" / LISA, folder)
        for file, more in (("spec", change), ("result", {"accuracy": 50.0})):
            path = folder / f"{file}.json"
            path.write_text(json.dumps({**read_json(path), "id": run, **more}))
        write_evaluation(folder, SampleOutcomes(np.arange(100) < 50, None, None, 0))
    text = compare(capsys, "one", "two", "--results", str(tmp_path))
    assert find_line(text, "hash of the data").split()[4:6] == ["d" * 16, "f" * 16]
    assert "e" * 16 in find_line(text, "hash of the weights")
    assert "aaaa, bbbb" in find_line(text, "match")
    assert "does not cover the test draw" in " ".join(text.split())  # other samples


def test_two_cells_show_spread_and_paired_difference(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scores = {LISA: (50.0, 52.0, 54.0), AUTOFREEZE: (51.0, 54.0, 57.0)}
    for run, values in scores.items():
        for seed, score in enumerate(values):
            folder = tmp_path / "runs" / f"{run}-{seed}"
            shutil.copytree(VERSION3 / "runs" / run, folder)
            for file, changes in (("spec", {"seed": seed}), ("result", {"accuracy": score})):
                path = folder / f"{file}.json"
                path.write_text(json.dumps({**read_json(path), "id": folder.name, **changes}))
    cells = [read_json(VERSION3 / "runs" / run / "spec.json")["cell"] for run in scores]
    text = compare(capsys, *cells, "--cells", "--results", str(tmp_path))
    line = find_line(text, "accuracy")
    assert "52.00 ± 2.00" in line
    assert "54.00 ± 3.00" in line
    assert "+2.00 points [−0.48, +4.48]" in line  # t interval of 1, 2 and 3
    assert "3 of 3" in find_line(text, "runs")
    assert "stays frozen" not in text
    members = [f"{run}-2" for run in scores]  # any run names its cell
    again = compare(capsys, *members, "--cells", "--results", str(tmp_path))
    assert find_line(again, "accuracy") == line
    said = compare(capsys, LISA, cells[0], "--results", str(tmp_path), status=2)
    assert "3 ids begin with" in said


def test_times_of_several_devices_are_not_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for run, fast in ((LISA, (0, 1)), (AUTOFREEZE, (0,))):
        for seed in range(3):
            folder = tmp_path / "runs" / f"{run}-{seed}"
            shutil.copytree(VERSION3 / "runs" / run, folder)
            device = {"device": "Fast CPU" if seed in fast else "Slow CPU"}
            for file, changes in (
                ("spec", {"seed": seed}), ("result", {}), ("environment", device),
            ):  # fmt: skip
                path = folder / f"{file}.json"
                path.write_text(json.dumps({**read_json(path), "id": folder.name, **changes}))
    cells = [read_json(VERSION3 / "runs" / run / "spec.json")["cell"] for run in (LISA, AUTOFREEZE)]
    text = compare(capsys, *cells, "--cells", "--results", str(tmp_path))
    assert "used different devices" in " ".join(text.split())
    assert "%" not in find_line(text, "time, s")


def test_the_interval_of_cells_with_known_samples_covers_the_test_draw(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Let two cells differ in the same samples for every seed.

    All seeds share 100 samples. The seeds alone therefore show no variation.
    """
    right = {LISA: np.arange(100) < 50, AUTOFREEZE: np.arange(100) >= 40}
    for run, correct in right.items():
        for seed in range(3):
            folder = tmp_path / "runs" / f"{run}-{seed}"
            shutil.copytree(VERSION3 / "runs" / run, folder)
            changes = {"accuracy": 100.0 * correct.mean()}
            for file, more in (("spec", {"seed": seed}), ("result", changes)):
                path = folder / f"{file}.json"
                path.write_text(json.dumps({**read_json(path), "id": folder.name, **more}))
            write_evaluation(folder, SampleOutcomes(correct, None, None, 0))
    names = [f"{run}-0" for run in right]
    text = compare(capsys, *names, "--cells", "--results", str(tmp_path))
    # With one sample per source this is the usual standard error of a mean.
    gaps = 100.0 * (right[AUTOFREEZE].astype(int) - right[LISA])
    half = student.ppf(0.975, 99) * gaps.std(ddof=1) / 10
    assert f"+10.00 points [{_sign(10 - half)}, {_sign(10 + half)}]" in find_line(text, "accuracy")
    assert "covers the seeds and the test draw" in " ".join(text.split())
    (tmp_path / "runs" / names[0] / "evaluation.npz").unlink()
    text = compare(capsys, *names, "--cells", "--results", str(tmp_path))
    assert "+10.00 points [+10.00, +10.00]" in find_line(text, "accuracy")
    assert "does not cover the test draw" in " ".join(text.split())


def make_runs(root: Path, seeds: dict[str, range], **changes: Any) -> None:
    """Copy recorded runs to other seeds. `changes` replaces keys of their specs."""
    for run, numbers in seeds.items():
        for seed in numbers:
            folder = root / "runs" / f"{run}-{seed}"
            shutil.copytree(VERSION3 / "runs" / run, folder)
            for file, own in (("spec", {"seed": seed, **changes}), ("result", {})):
                path = folder / f"{file}.json"
                path.write_text(json.dumps({**read_json(path), "id": folder.name, **own}))


def test_seeds_that_only_one_side_has_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_runs(tmp_path, {LISA: range(3), AUTOFREEZE: range(1, 4)})
    where = ("--cells", "--results", str(tmp_path))
    text = " ".join(compare(capsys, f"{LISA}-1", f"{AUTOFREEZE}-1", *where).split())
    assert "seeds 0, 1, 2 1, 2, 3" in text
    assert "The difference of scores covers only the 2 seeds that both sides have." in text
    text = compare(capsys, f"{LISA}-0", f"{AUTOFREEZE}-3", "--results", str(tmp_path))
    assert "covers no seed, because no seed is on both sides" in " ".join(text.split())
    assert "points" not in find_line(text, "accuracy")
    same = compare(capsys, f"{LISA}-1", f"{AUTOFREEZE}-1", "--results", str(tmp_path))
    assert "seeds that both sides" not in same


def test_losses_of_texts_of_two_lengths_are_not_paired_by_sample(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_runs(tmp_path, {LISA: range(2)}, length=8)
    make_runs(tmp_path, {AUTOFREEZE: range(2)}, length=32)
    for folder in (tmp_path / "runs").iterdir():
        words = 4 if folder.name.startswith(LISA) else 16
        losses = np.full(words, 2.0, np.float32)
        write_evaluation(folder, SampleOutcomes(losses < 1, None, None, 0, losses))
        path = folder / "result.json"
        changed = {"accuracy": 2.0, "metric": "loss"}
        path.write_text(json.dumps({**read_json(path), **changed}))
    names = [f"{LISA}-0", f"{AUTOFREEZE}-0"]
    text = compare(capsys, *names, "--cells", "--results", str(tmp_path))
    assert "does not cover the test draw" in " ".join(text.split())


def test_losses_are_not_called_percentages(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for run in (LISA, AUTOFREEZE):
        shutil.copytree(VERSION3 / "runs" / run, tmp_path / "runs" / run)
    path = tmp_path / "runs" / LISA / "result.json"
    path.write_text(json.dumps({**read_json(path), "metric": "loss", "accuracy": -450.0}))
    text = compare(capsys, LISA, AUTOFREEZE, "--results", str(tmp_path))
    assert "accuracy, %" not in text
    assert "points" not in find_line(text, "score")  # a loss and an accuracy have no difference
    path = tmp_path / "runs" / AUTOFREEZE / "result.json"
    path.write_text(json.dumps({**read_json(path), "metric": "loss", "accuracy": -451.0}))
    line = find_line(compare(capsys, LISA, AUTOFREEZE, "--results", str(tmp_path)), "score")
    assert line.split()[:3] == ["score", "−450.00", "−451.00"]
    assert "−1.00 points" in line


def _sign(value: float) -> str:
    return f"{value:+.2f}".replace("-", "−")


def write_sweep(name: str, results: Path, shift: float, metric: str = "accuracy") -> None:
    for entry in load_sweep(name, "laptop", controls=True).entries:
        folder = results / "runs" / entry.spec.id
        folder.mkdir(parents=True, exist_ok=True)
        values: dict[str, Any] = {"id": entry.spec.id, "seed": entry.spec.seed, **entry.roles}
        named = {**values, "cell": entry.spec.cell}
        result = make_result(named, accuracy=80 + shift, metric=metric)
        spec = {"id": entry.spec.id, "cell": entry.spec.cell, **entry.spec.to_dict()}
        for file, content in (
            ("result", result),
            ("spec", spec),
            ("environment", {"results_version": RESULTS_VERSION, "device": "CPU", "threads": 1}),
        ):
            (folder / f"{file}.json").write_text(json.dumps(content))
        (folder / "decisions.jsonl").write_text("")


def write_short(folder: Path) -> Path:
    """Write the sweep of early_half with another value of its option, and return its path."""
    short = folder / "short.toml"
    text = (ROOT / "examples" / "early_half.toml").read_text()
    short.write_text(text.replace("after = 2", "after = 1"))
    return short


def list_changed_rows(out: str) -> list[str]:
    """Return the rows of the two methods whose runs differ; full training has the same runs."""
    rows = [row for row in out.splitlines() if "80.00" in row]
    changed = [[row for row in rows if method in row] for method in ("early_half", "shortened")]
    assert [len(found) for found in changed] == [1, 1]
    return [row for (row,) in changed]


def test_two_sweeps(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    short = write_short(tmp_path)
    write_sweep("examples/early_half.toml", tmp_path, 0.0)
    write_sweep(str(short), tmp_path, 1.5)
    out = compare(capsys, "examples/early_half.toml", str(short), "--results", str(tmp_path))
    for line in list_changed_rows(out):
        assert "81.50" in line
        assert "+1.50" in line
    gone = next(
        e.spec for e in load_sweep(str(short), "laptop").entries if e.roles["method"] == "full"
    )
    shutil.rmtree(tmp_path / "runs" / gone.id)
    out = compare(capsys, str(short), str(short), "--results", str(tmp_path))
    planned = sum(e.spec.cell == gone.cell for e in load_sweep(str(short), "laptop").entries)
    assert f"{planned - 1} of {planned}" in out


def test_options_choose_the_runs_of_both_sweeps(capsys: pytest.CaptureFixture[str]) -> None:
    sweeps = ("table2", "table3", "--results", str(VERSION3))
    assert "0 of 2" in find_line(compare(capsys, *sweeps, "--seeds", "2"), "autofreeze")
    message = compare(capsys, *sweeps, "--epochs", "two", status=2)
    assert "epochs" in message


def test_a_file_that_one_of_the_sweeps_reads_is_accepted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Table 1 has only full training; table 2 has SmartFRZ, which reads a predictor."""
    predictor = tmp_path / "own.safetensors"
    shutil.copy(FOLDER / "laptop-w30-n1024.safetensors", predictor)
    options = ("--results", str(VERSION3), "--predictor", str(predictor))
    compare(capsys, "table1", "table2", *options)
    message = compare(capsys, "table1", "table1", *options, status=2)
    assert "no run reads it" in message


def test_scores_of_sweeps_by_different_metrics_are_not_subtracted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    short = write_short(tmp_path)
    write_sweep("examples/early_half.toml", tmp_path, 0.0)
    write_sweep(str(short), tmp_path, 1.5, "matthews")
    out = compare(capsys, "examples/early_half.toml", str(short), "--results", str(tmp_path))
    for line in list_changed_rows(out):
        assert "81.50" in line
        assert line.split()[-2] == "–"


def test_scores_of_sweeps_on_different_parts_of_the_data_are_not_subtracted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    held_out = tmp_path / "held_out.toml"
    text = (ROOT / "examples" / "early_half.toml").read_text()
    method = '[[methods]]\nname = "early_half"\n'
    assert method in text
    held_out.write_text(text.replace(method, f'{method}set = {{evaluate_on = "validation"}}\n'))
    write_sweep("examples/early_half.toml", tmp_path, 0.0)
    write_sweep(str(held_out), tmp_path, 1.5)
    out = compare(capsys, "examples/early_half.toml", str(held_out), "--results", str(tmp_path))
    row = next(line for line in out.splitlines() if "early_half" in line and "80.00" in line)
    assert "81.50" in row
    assert row.split()[-2] == "–"


def test_sweeps_without_runs_are_shown_as_missing(capsys: pytest.CaptureFixture[str]) -> None:
    text = compare(capsys, "table2", "table3", "--results", str(VERSION3))
    assert "0 of 5" in find_line(text, "autofreeze")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("nothing", LISA), "nothing is neither a sweep nor the beginning of"),
        (("table2", LISA), "table2 is a sweep, but 1df6de4d74ea is not"),
        (("table2", "table3", "--cells"), "--cells is for ids of runs"),
        ((LISA, AUTOFREEZE, "--seeds", "2"), "--seeds is for sweeps, but 1df6de4d74ea is the id"),
        ((LISA, AUTOFREEZE, "--epochs", "2"), "--epochs is for sweeps"),
    ],
)
def test_unknown_names_get_one_line(
    names: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = compare(capsys, *names, "--results", str(VERSION3), status=2)
    assert message in text
    assert text.count("\n") == 1
