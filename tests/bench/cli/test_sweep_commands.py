"""Tests of the commands that plan, execute and report sweeps."""

import errno
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest

from bench.cli.main import build_parser, main
from bench.planning.plan import make_plan
from bench.planning.sweep import load_sweep
from bench.planning.sweep_files import SWEEPS, list_tables
from bench.results.run_folder import RunFolder
from tests.support.paths import ROOT


def test_a_run_whose_result_is_deleted_is_planned_again(tmp_path: Path) -> None:
    sweep = load_sweep("table2", "laptop", seeds=1)
    first = sweep.entries[0].spec
    folder = RunFolder(tmp_path, first.id)
    folder.create()
    folder.write("result.json", {"status": "done"})
    assert first.id in make_plan(sweep.specs, tmp_path).done
    folder.remove("result.json")
    assert first.id not in make_plan(sweep.specs, tmp_path).done


def test_plan_and_status_report_the_remaining_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["table2", "--seeds", "1", "--results", str(tmp_path)]
    assert main(["plan", *common]) == 0
    out = capsys.readouterr().out
    assert "56 runs, 0 done, 56 to do" in out
    assert "smartfrz: 8" in out
    assert main(["status", *common]) == 0
    assert "1 to do" in capsys.readouterr().out
    assert main(["plan", "table33", "--results", str(tmp_path)]) == 2
    assert "table2" in capsys.readouterr().err


def test_the_planned_time_does_not_shrink_with_idle_workers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "one.toml"
    file.write_text(
        'title = "t"\n[grid]\nmodels = ["vgg11"]\ndatasets = ["cifar10"]\nseeds = [0]\n'
        '[[methods]]\nname = "full"\n'
    )
    shown = []
    for workers in ("1", "8"):
        assert main(["plan", str(file), "--workers", workers, "--results", str(tmp_path)]) == 0
        shown.append(capsys.readouterr().out.splitlines()[-1])
    assert ", 1 run at a time" in shown[0]
    assert shown[0] == shown[1]


def test_two_sweeps_of_one_table_are_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.toml"
    other.write_text('table = "table2"\n' + (SWEEPS / "frontier.toml").read_text())
    assert main(["report", "table2", str(other), "--seeds", "1"]) == 2
    assert "table2 and other both produce table2" in capsys.readouterr().err


def test_a_sweep_without_a_table_gets_a_report_named_after_it(tmp_path: Path) -> None:
    common = ["--seeds", "1", "--results", str(tmp_path)]
    assert main(["report", "frontier", "window", *common]) == 0
    written = {path.name for path in (tmp_path / "reports" / "laptop").glob("*.md")}
    assert written == {"frontier.md", "table4.md"}
    text = (tmp_path / "reports" / "laptop" / "frontier.md").read_text()
    assert "Computation that can be saved within the margin, pooled over the pairs" in text
    assert "SmartFRZ paper" not in text
    assert main(["page", "frontier", *common]) == 0
    page = (tmp_path / "reports" / "laptop" / "frontier.html").read_text()
    assert "Computation that can be saved within the margin" in page
    assert "claims" not in {path.stem for path in (tmp_path / "reports" / "laptop").iterdir()}


SOME_DIVERGE = """
title = "Rates"
grid = {models = ["vgg11"], datasets = ["calm", "wild"], seeds = [0]}
methods = [{name = "full"}, {name = "linear"}]
[datasets]
calm = {data = "digits10", backbone = {}}
wild = {data = "digits10", backbone = {}, lr = 1e6}
"""


def test_the_page_of_a_sweep_reports_diverged_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, results = tmp_path / "rates.toml", tmp_path / "results"
    file.write_text(SOME_DIVERGE)
    small = ["--epochs", "1", "--train-limit", "64", "--results", str(results), "--workers", "1"]
    assert main(["sweep", str(file), "--page", *small]) == 1
    output = capsys.readouterr()
    assert "diverged: laptop_vgg11" in output.err
    page = (results / "reports" / "laptop" / "rates.html").read_text()
    assert "rates.html" in output.out
    assert "diverged" in page
    assert "wild" in page


@pytest.mark.parametrize("target", ["table2", "report", "figures", "sweep"])
def test_make_passes_launcher_profile_and_arguments_to_the_command(target: str) -> None:
    command = ["make", "-n", target, "LAUNCHER=slurm", "PROFILE=paper", "ARGS=--cluster gpu.toml"]
    output = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    words = " ".join(shlex.split(output))
    assert "--launcher slurm --profile paper --cluster gpu.toml" in words


def test_make_passes_values_with_spaces_as_one_argument() -> None:
    """Of every target of the Makefile that runs a command of freezebench."""
    values = ["PROFILE=my profiles/own.toml", "DATA_ROOT=/my data"]
    for target in ("table2", "page", "plan", "flops", "predictor"):
        command = ["make", "-n", target, *values]
        output = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
        words = shlex.split(output.stdout)
        assert words[words.index("--profile") + 1] == "my profiles/own.toml"
        assert words[words.index("--data-root") + 1] == "/my data"


def test_reports_describe_how_smartfrz_departs_from_the_paper(tmp_path: Path) -> None:
    common = ["--seeds", "1", "--results", str(tmp_path)]
    assert main(["page", "table2", "table4", "table9", *common]) == 0
    out = tmp_path / "reports" / "laptop"
    said = "freezes at P(freeze) ≥ {} instead of by argmax; it freezes no layer in the first epoch"
    text = (out / "table2.md").read_text()
    assert "predictor reads the feature set upstream+progress instead of" in text.replace("\\", "")
    assert "has 256,066 parameters instead of 1,037,122" in text
    training = "one cycle of the learning rate, clipped gradients, standardised tokens"
    assert f"trained with adamw, {training} on glyphs:barred, glyphs:few, " in text
    assert "range of 4 values of unbiased CKA is below 0.01" in text
    assert said.format("0.91") in text
    limits = "0.94 (laptop-w20-n1024), 0.91 (laptop-w30-n1024), 0.91 (laptop-w40-n1024)"
    assert limits in (out / "table4.md").read_text()
    assert "departs" in (out / "claims.md").read_text()
    assert "departs" not in (out / "table9.md").read_text()  # AutoFreeze


def test_the_page_shows_the_command_that_runs_its_sweep(tmp_path: Path) -> None:
    asked = ["table2", "--controls", "--seeds", "2", "--evaluate-on", "validation"]
    assert main(["page", *asked, "--results", str(tmp_path)]) == 0
    page = (tmp_path / "reports" / "laptop" / "index.html").read_text()
    words = "table2 --profile laptop --controls --seeds 2 --evaluate-on validation"
    assert f"freezebench sweep {words}" in page


@pytest.mark.parametrize("table", ["table8", "table9"])
def test_tables_8_and_9_can_be_reported_for_a_pair_that_the_paper_lacks(
    table: str, tmp_path: Path
) -> None:
    """Report a pair without numbers in the paper, before any run is done."""
    text = (SWEEPS / f"{table}.toml").read_text()
    file = tmp_path / "other.toml"
    file.write_text(
        f'table = "{table}"\n' + re.sub(r"^models = .*$", 'models = ["vgg11"]', text, flags=re.M)
    )
    assert main(["report", str(file), "--results", str(tmp_path)]) == 0
    assert (tmp_path / "reports" / "laptop" / f"{table}_sensitivity.svg").exists()


@pytest.mark.parametrize("command", ["report", "page"])
def test_a_missing_results_folder_is_an_error_and_is_not_created(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mistyped = tmp_path / "reslts"
    assert main([command, "table9", "--results", str(mistyped)]) == 2
    assert f"--results {mistyped}: there is no such folder" in capsys.readouterr().err
    assert not mistyped.exists()


@pytest.mark.parametrize("command", ["report", "page"])
def test_reports_of_a_read_only_results_folder_need_out(
    command: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    theirs, ours = tmp_path / "theirs", tmp_path / "ours"
    theirs.mkdir()
    refused = Path.mkdir

    def mkdir(path: Path, *args: Any, **kwargs: Any) -> None:
        if theirs in path.parents:  # patched, because file permissions do not bind root
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        refused(path, *args, **kwargs)

    monkeypatch.setattr(Path, "mkdir", mkdir)
    common = [command, "table9", "--seeds", "1", "--results", str(theirs)]
    assert main(common) == 2
    assert "--out DIR for reports" in capsys.readouterr().err
    assert main([*common, "--out", str(ours)]) == 0
    assert (ours / "laptop" / "table9.md").exists()
    assert not list(theirs.iterdir())


def test_reports_list_the_fields_set_for_every_run(tmp_path: Path) -> None:
    common = ["--seeds", "1", "--results", str(tmp_path)]
    assert main(["report", "table9", *common]) == 0
    text = tmp_path / "reports" / "laptop" / "table9.md"
    assert "Changed for all runs" not in text.read_text()
    changes = ["--evaluate-on", "validation", "--epochs", "3"]
    assert main(["report", "table9", *changes, *common]) == 0
    assert "all runs: evaluate_on = validation, epochs = 3." in text.read_text()


def test_several_sweeps_are_planned_together(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["--seeds", "1", "--results", str(tmp_path)]
    assert main(["plan", "table1", "table9", "table1", *common]) == 0
    out = capsys.readouterr().out
    # Table 1: 4 runs and 2 references. Table 9: 5 runs.
    assert "table1+table9, profile laptop: 11 runs, 0 of them shared between sweeps" in out
    assert "table1: 6 of 6 runs to do" in out
    assert main(["plan", *common]) == 0
    assert "+".join(list_tables()) in capsys.readouterr().out
    assert main(["status", "table1", "table9", *common]) == 0
    assert "11 to do" in capsys.readouterr().out


def test_weights_without_effect_are_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "own.safetensors"
    file.write_bytes(b"weights")
    assert main(["plan", "table2", "--seeds", "1", "--weights", f"resnet={file}"]) == 2
    assert "--weights: role 'resnet' is unknown" in capsys.readouterr().err
    scratch = ["plan", "table3", "--seeds", "1", "--weights", f"resnet50={file}"]
    assert main(scratch) == 2
    assert "no run of table3 starts from this file; omit it" in capsys.readouterr().err


def test_the_results_folder_may_start_with_a_tilde_or_be_unset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    parse = build_parser().parse_args
    assert parse(["report", "table2", "--results=~/runs"]).results == tmp_path / "runs"
    for value, wanted in (("~/all", tmp_path / "all"), ("", Path("results"))):
        monkeypatch.setenv("FREEZEBENCH_RESULTS", value)
        assert build_parser().parse_args(["report", "table2"]).results == wanted
