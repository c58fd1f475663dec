"""What planned runs should cost: every run once, by sweep, with bounds told from costs."""

from pathlib import Path

import pytest

from bench.cli.main import main
from bench.errors import UserError
from bench.machine.device_speed import A100, Speed, parse_speed
from bench.planning.cost_estimate import CostEstimate, estimate_cost
from bench.planning.estimates import count_full_flops
from bench.planning.sweep import Sweep, join_sweeps, load_sweep

TABLES = ("table1", "table2", "table3", "table7", "table9")


@pytest.fixture(scope="module")
def sweep() -> Sweep:
    """Tables of the paper's profile, some of whose runs are the same."""
    return join_sweeps([load_sweep(name, "paper") for name in TABLES])


@pytest.fixture(scope="module")
def bill(sweep: Sweep) -> CostEstimate:
    """What they cost."""
    return estimate_cost(sweep)


def test_every_run_is_counted_once_whoever_shares_it(sweep: Sweep, bill: CostEstimate) -> None:
    assert bill.runs == len(sweep.specs) == sum(runs for runs, _ in bill.own.values())
    assert bill.flops == pytest.approx(sum(count_full_flops(spec) for spec in sweep.specs))
    assert bill.flops == pytest.approx(sum(flops for _, flops in bill.own.values()))
    assert sum(line.runs for line in bill.lines) > bill.runs  # lines show all that a table does
    alone = estimate_cost(load_sweep("table9", "paper"))
    assert bill.own["table9"][0] == alone.runs - 10  # full and M = 4 are Table 2's


def test_imagenet_costs_what_a_hand_says(bill: CostEstimate) -> None:
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
def test_a_speed_has_a_name_and_a_number(text: str) -> None:
    speed = parse_speed(text)
    assert speed == Speed("V100", 8.9e12)
    assert speed.estimate_hours(8.9e12 * 3600) == 1
    assert 15e12 < A100.flops < 156e12  # less than its peak in TF32


@pytest.mark.parametrize("text", ["V100", "=9", "V100=", "V100=fast", "V100=0", "V100=-1", ""])
def test_no_speed_is_one_line(text: str) -> None:
    with pytest.raises(UserError, match=r"--device-speed .* give NAME=NUMBER") as caught:
        parse_speed(text)
    assert "\n" not in str(caught.value)


def test_the_papers_tables_are_billed_without_data_and_those_of_a_laptop_are_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--results", str(tmp_path), "--seeds", "1"]
    assert main(["plan", "--profile", "paper", "--device-speed", "P100=4.6", "--each", *given]) == 0
    out = capsys.readouterr().out
    assert "P100 at 4.6 TFLOP/s sustained" in out
    assert "each run once" in out
    assert main(["plan", "table9", *given]) == 0
    assert "GPU hours" not in capsys.readouterr().out
