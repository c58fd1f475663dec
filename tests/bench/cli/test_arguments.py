"""Tests of argument checks: values out of range and a useless option are refused by one line."""

import pytest

from bench.cli.main import main


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("plan table2 --seed 3", "unrecognized arguments: --seed 3"),  # not --seeds
        ("predictor info --wind 30", "unrecognized arguments: --wind"),
        ("plan table2 --seeds 0", "argument --seeds: 0 is not valid; give a whole number of"),
        ("sweep table2 --seeds -1", "argument --seeds: -1 is not valid; give a whole number of"),
        ("sweep table2 --workers -1", "argument --workers: -1 is not valid; give a whole number"),
        ("status table2 --watch --every nan", "argument --every: nan is not valid; give seconds"),
        ("retime table2 --seconds inf", "argument --seconds: inf is not valid; give seconds"),
        ("retime table2 --only-seed 7", "--only-seed 7 is not valid; give one of [0, 1, 2, 3, 4]"),
        ("perf --seconds 0", "argument --seconds: 0 is not valid; give seconds above 0"),
        ("perf --batch-size 0", "argument --batch-size: 0 is not valid; give a whole number of"),
        ("perf --threads 0", "argument --threads: 0 is not valid; give a whole number of"),
        ("perf --resolution x", "argument --resolution: x is not valid; give a whole number of"),
        ("logs 3f --lines 0", "argument --lines: 0 is not valid; give a whole number of"),
        ("predictor info --window 0", "--window 0 is not valid; give a whole number from 2"),
        ("tune vgg11 cifar10 --weights vg11=README.md", "--weights: role 'vg11' is unknown"),
    ],
)
def test_a_wrong_argument_is_refused_by_one_line(command, message, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    try:
        code = main(command.split())
    except SystemExit as end:
        code = end.code
    assert code != 0
    assert message in capsys.readouterr().err.splitlines()[-1]


def test_weights_may_lack_without_weights_is_refused(capsys):
    command = "run --model laptop_resnet --data digits10 --lr 0.1 --weights-may-lack conv1"
    assert main(command.split()) == 2
    assert (
        "--weights-may-lack applies to initial weights; pass --weights" in capsys.readouterr().err
    )


@pytest.mark.parametrize("option", ["--data-root", "--vocab", "--predictor"])
@pytest.mark.parametrize(
    "command", ["plan table1", "run --model laptop_resnet --data digits10 --lr 0.1"]
)
def test_a_file_that_no_run_reads_is_refused(command, option, tmp_path, capsys):
    assert main([*command.split(), option, str(tmp_path)]) == 2
    line = f"error: {option} {tmp_path}: has no effect, because no run reads it; omit it"
    assert line in capsys.readouterr().err


@pytest.mark.parametrize("command", ["predictor train", "predictor evaluate", "predictor harm"])
def test_a_data_root_without_effect_is_refused_before_the_source_runs(command, tmp_path, capsys):
    for folder, fault in ((tmp_path, "has no effect"), (tmp_path / "no", "there is no such")):
        assert main([*command.split(), "--data-root", str(folder)]) == 2
        assert f"--data-root {folder}: {fault}" in capsys.readouterr().err
