"""Tests of cost estimates: each run counts once, and upper bounds are marked."""

from pathlib import Path

import pytest

from bench.cli.main import main
from bench.errors import UserError
from bench.machine.device_speed import A100, Speed, parse_speed
from bench.planning.cost_estimate import CostEstimate, estimate_cost
from bench.planning.estimates import count_full_flops
from bench.planning.sweep import Sweep, expand_sweep, join_sweeps, load_sweep
from bench.planning.sweep_models import Grid, Method, SweepFile

TABLES = ("table1", "table2", "table3", "table7", "table9")


@pytest.fixture(scope="module")
def sweep() -> Sweep:
    """Return a joined sweep of tables on the paper's profile that share some runs."""
    return join_sweeps([load_sweep(name, "paper") for name in TABLES])


@pytest.fixture(scope="module")
def bill(sweep: Sweep) -> CostEstimate:
    """Return the estimated cost of the joined sweep."""
    return estimate_cost(sweep)


def test_a_run_that_tables_share_is_counted_once(sweep: Sweep, bill: CostEstimate) -> None:
    assert bill.runs == len(sweep.specs) == sum(runs for runs, _ in bill.own.values())
    assert bill.flops == pytest.approx(sum(count_full_flops(spec) for spec in sweep.specs))
    assert bill.flops == pytest.approx(sum(flops for _, flops in bill.own.values()))
    assert sum(line.runs for line in bill.lines) > bill.runs  # lines repeat shared runs
    alone = estimate_cost(load_sweep("table9", "paper"))
    assert bill.own["table9"][0] == alone.runs - 10  # Table 2 has full and M = 4


def test_the_estimates_for_imagenet_are_samples_times_epochs_times_flops(
    bill: CostEstimate,
) -> None:
    costs = {(line.sweep, line.what): line for line in bill.lines}
    resnet = costs["table3", "resnet50 imagenet full"]
    assert resnet.flops == 5 * 100 * 1_281_167 * 24_299_077_632.0
    assert not resnet.bound
    deit = costs["table7", "deit_tiny imagenet smartfrz"]
    assert deit.flops == 5 * 300 * 1_281_167 * 7_464_296_448.0
    assert deit.bound
    assert costs["table1", "artifacts: vgg11 cifar100"].runs == 1
    assert {line.what for line in bill.lines if not line.bound} == {
        line.what for line in bill.lines if line.what.endswith("full") or "artifacts" in line.what
    }


@pytest.mark.parametrize("text", ["V100=8.9", "V100=8.9TFLOP/s", " V100 = 8.9 tflop/s "])
def test_a_device_speed_is_a_name_and_a_number(text: str) -> None:
    speed = parse_speed(text)
    assert speed == Speed("V100", 8.9e12)
    assert speed.estimate_hours(8.9e12 * 3600) == 1
    assert 15e12 < A100.flops < 156e12  # 156 TFLOP/s is its peak in TF32


@pytest.mark.parametrize("text", ["V100", "=9", "V100=", "V100=fast", "V100=0", "V100=-1", ""])
def test_an_invalid_device_speed_is_a_one_line_error(text: str) -> None:
    with pytest.raises(UserError, match=r"--device-speed .* NAME=NUMBER") as caught:
        parse_speed(text)
    assert "\n" not in str(caught.value)


def test_plan_estimates_gpu_hours_for_the_paper_profile_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--results", str(tmp_path), "--seeds", "1"]
    assert main(["plan", "--profile", "paper", "--device-speed", "P100=4.6", "--each", *given]) == 0
    out = capsys.readouterr().out
    assert "P100 at 4.6 TFLOP/s sustained" in out
    assert "each run once" in out
    assert main(["plan", "table9", *given]) == 0
    assert "GPU hours" not in capsys.readouterr().out


def test_plan_estimates_gpu_and_core_hours_for_the_desk_profile(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", "table1", "--profile", "desk", "--results", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "one CPU core at 20 GFLOP/s" in out
    assert "22.8 TFLOP/s sustained" in out
    # VGG11 at 80 pixels: 5 seeds of 12 epochs of 4,000 images.
    flops = 5 * count_full_flops(load_sweep("table1", "desk", seeds=1).entries[2].spec)
    line = next(line for line in out.splitlines() if line.strip().startswith("vgg11 cifar100 full"))
    assert line.split()[-3:] == [
        f"{flops / 1e15:.4g}", f"{flops / A100.flops / 3600:.1f}", f"{flops / 2e10 / 3600:.0f}"
    ]  # fmt: skip


PROFILE = """
run = {device = "cpu", batch_size = 16}
models.b = {model = "laptop_bert", length = 16, checkpointing = true}
models.v = {model = "laptop_vgg11", resolution = 16, batch_size = 8}
datasets.t = {data = "grammar:acceptability", train_limit = 64}
datasets.d = {data = "digits10", train_limit = 96}
pairs."v/d" = {epochs = 3, train_limit = 32}
"""


def test_the_command_counts_the_full_training_of_the_profile(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "own.toml"
    file.write_text(PROFILE)
    assert main(["flops", "--profile", str(file)]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[3:]]
    exact = {(row[0], row[2]): float(row[4]) for row in rows[1:]}
    for model, role, data in (("b", "t", "grammar:acceptability"), ("v", "d", "digits10")):
        grid = Grid(models=[model], datasets=[role], seeds=[0])
        declared = SweepFile(title="full", grid=[grid], methods=[Method(name="full")])
        spec = expand_sweep(declared, str(file), "full").entries[0].spec
        assert exact.pop((model, data)) == pytest.approx(count_full_flops(spec) / 1e12, rel=1e-3)
    assert not exact


def test_the_command_names_a_profile_entry_without_a_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "own.toml"
    file.write_text('[run]\n[models.m]\nlr = 0.1\n[datasets.d]\ndata = "digits10"\n')
    assert main(["flops", "--profile", str(file)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: profile own, m on d: run: model must be given")
    assert error.count("\n") == 1


def test_the_command_refuses_a_data_root_that_it_does_not_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "own.toml"
    file.write_text(PROFILE)
    assert main(["flops", "--profile", str(file), "--data-root", str(tmp_path)]) == 2
    assert "no run reads it" in capsys.readouterr().err
