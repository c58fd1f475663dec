"""`freezebench perf` compares the harness with an equivalent loop in the same freeze states."""

import csv
import json
import os
import time
from collections import Counter
from functools import partial
from pathlib import Path

import hypothesis
import pytest
import torch
from hypothesis import strategies as st

from bench.batches.order import draw_epoch_order
from bench.cli.main import main
from bench.files import write_atomically
from bench.perf.dispatched_operators import compare_operators, count_operators
from bench.perf.harness import (
    Harness,
    PerfSettings,
    build_reference_loop,
    make_freeze_states,
    make_spec,
)
from bench.perf.interleaved_timing import (
    TimedCall,
    TimingGroup,
    compute_ratios,
    time_groups,
    time_interleaved,
)
from bench.perf.measurement import make_measurement
from bench.perf.reference_loop import ReferenceLoop
from bench.perf.report import hold_folder, move_earlier_files, write_measurements
from bench.perf.sections.realised import compare_savings
from bench.perf.subjects import SMALLEST

CPU = torch.device("cpu")


def settings(place: Path, seconds: float = 0.2) -> PerfSettings:
    return PerfSettings("cpu", 1, 32, 8, seconds, place)


def test_the_reference_loop_trains_to_the_same_weights(tmp_path: Path) -> None:
    """Train the same model in both loops, before and after a freeze."""
    harness = Harness(make_spec(settings(tmp_path), SMALLEST), tmp_path)
    run, frozen = harness.run, make_freeze_states(len(harness.layers))["random 50%"]
    reference = build_reference_loop(harness)
    reference.total = run.view.total_steps
    reference.order = draw_epoch_order(run.spec.seed, 0, len(reference.labels))
    for _ in range(3):
        harness.step()
        reference.step()
    reference.freeze(frozen)  # resets all momentum, so reset it in the harness too
    harness.run.optimizer.state.clear()
    harness.freeze(frozen)
    reference.step()
    for _ in range(2):
        harness.step()
        reference.step()
    mine, other = run.model.state_dict(), reference.model.state_dict()
    assert all(torch.allclose(mine[k], other[k], rtol=1e-3, atol=1e-5) for k in mine)
    for index in frozen:
        for name in harness.layers[index].parameters:
            assert run.model.get_parameter(name).grad is None
            assert reference.model.get_parameter(name).grad is None


MODELS = [SMALLEST, "laptop_resnet", "laptop_vgg11", "laptop_deit"]
# Operators that normalise a batch. The harness runs one on the pixels and five on the three channel
# statistics; the reference loop runs two on the pixels.
PIXELS = {
    "harness": {"mul": 2, "reciprocal": 1, "neg": 1, "div": 1, "addcmul": 1},
    "reference": {"sub_": 1, "div_": 1},
}


@pytest.fixture(scope="module", params=MODELS)
def loops(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Harness, ReferenceLoop]:
    """Return a harness and its reference loop."""
    place = tmp_path_factory.mktemp("loops")
    harness = Harness(make_spec(settings(place), request.param), place)
    return harness, build_reference_loop(harness)


@hypothesis.settings(max_examples=20, deadline=None)
@hypothesis.given(mask=st.frozensets(st.integers(0, 30)))
@hypothesis.example(mask=frozenset())
def test_harness_and_reference_loop_run_the_same_operators_in_any_freeze_state(
    loops: tuple[Harness, ReferenceLoop], mask: frozenset[int]
) -> None:
    """Check that only the operators that normalise a batch differ.

    Freezing therefore saves both loops the same work. This comparison does not depend on timing.
    """
    harness, reference = loops
    frozen = {index % (len(harness.layers) - 1) for index in mask}
    harness.freeze(frozen)
    reference.freeze(frozen)
    reference.step()
    mine, reference = count_operators(harness.step), count_operators(reference.step)
    assert _by_name(mine - reference) == PIXELS["harness"]
    assert _by_name(reference - mine) == PIXELS["reference"]
    assert (mine & reference).total() > 30


def test_compare_operators_finds_additional_operators(loops: tuple[Harness, ReferenceLoop]) -> None:
    _, reference = loops
    ours, theirs = compare_operators(
        reference.step, lambda: (reference.step(), torch.zeros(3).sum())
    )
    assert (ours, theirs) == (0, 2)
    reference.freeze({0})
    some = count_operators(reference.step)
    reference.freeze({1})
    assert (count_operators(reference.step) - some).total() > 0


def _by_name(counts: Counter[tuple[object, ...]]) -> dict[str, int]:
    names: Counter[str] = Counter()
    for (name, *_), count in counts.items():
        names[str(name).split(".")[1]] += count
    return dict(names)


def test_random_masks_contain_neither_the_first_layer_nor_the_head() -> None:
    for layers in (11, 23, 54):
        states = make_freeze_states(layers)
        for share in ("25%", "50%", "75%"):
            prefix, mask = states[f"prefix {share}"], states[f"random {share}"]
            assert prefix == set(range(len(prefix)))
            assert 0 not in mask
            assert layers - 1 not in mask | prefix
            assert abs(len(mask) - len(prefix)) <= 2


def test_time_ratios_are_accurate() -> None:
    def busy(milliseconds: float) -> None:
        until = time.process_time() + milliseconds / 1000
        while time.process_time() < until:
            pass

    contestants = {
        "short": TimedCall(lambda: busy(2)),
        "long": TimedCall(lambda: busy(8)),
    }
    times = time_interleaved(contestants, CPU, 0.2)
    measured = make_measurement(
        "s", "m", "c", "q", compute_ratios(times["long"], times["short"]), "<= 2"
    )
    assert 3.5 < measured.median < 4.5
    assert measured.low <= measured.median <= measured.high
    assert measured.verdict == "MISSED"
    assert len(times["long"]) == len(times["short"]) == measured.rounds


def test_a_group_is_made_ready_once_per_round_and_its_acts_alternate() -> None:
    calls: list[str] = []

    def act(name: str) -> None:
        calls.append(name)
        time.sleep(0.06)  # longer than a block, so that no act is repeated

    groups = [
        TimingGroup({n: partial(act, n) for n in names}, partial(calls.append, "ready"), turns=3)
        for names in ("ab", "cd")
    ]
    times = time_groups(groups, torch.device("meta"), seconds=0, least=2)
    rounds = "".join("." if name == "ready" else name for name in calls)
    assert rounds == ".abab.cdcd" + ".abbaab.cddccd" + ".dccddc.baabba"
    assert all(len(times[name]) == 2 and min(times[name]) >= 0.06 for name in "abcd")


@pytest.mark.parametrize(("mine", "reference"), [(0.3, 0.3), (0.19, 0.2), (0.5, 0.1)])
def test_compare_savings_divides_by_the_saving_of_the_reference_loop(
    mine: float, reference: float
) -> None:
    assert compare_savings([(1 - mine) / (1 - reference)], reference) == pytest.approx(
        [mine / reference]
    )


@pytest.mark.parametrize(
    ("values", "limit", "verdict"),
    [
        ([1.0], "<= 2", "met"),
        ([3.0], "<= 2", "MISSED"),
        ([1.0, 1.2, 1.1], ">= 0.95", "met"),
        ([0.7, 0.8, 0.9], ">= 0.95", "MISSED"),
        ([0.9, 1.0, 1.1], ">= 0.95", "unclear"),
        # With ten rounds the interval is the second to the ninth value, so one outlier per side
        # is ignored.
        ([0.1, *[1.0] * 8, 9.0], "<= 2", "met"),
        ([0.1, *[1.0] * 7, 9.0, 9.0], "<= 2", "unclear"),
    ],
)
def test_a_limit_within_the_interval_is_unclear(
    values: list[float], limit: str, verdict: str
) -> None:
    assert make_measurement("s", "m", "c", "q", values, limit).verdict == verdict


def test_the_command_writes_measurements_and_environment(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["perf", "--only", "startup", "--results", str(tmp_path)]) == 0
    assert "freezebench --help" in capsys.readouterr().out
    rows = list(csv.DictReader((tmp_path / "perf" / "perf.csv").open()))
    assert {row["section"] for row in rows} == {"startup"}
    assert all(float(row["low"]) <= float(row["median"]) <= float(row["high"]) for row in rows)
    machine = json.loads((tmp_path / "perf" / "environment.json").read_text())
    assert machine["device"]
    assert main(["perf", "--only", "startip", "--results", str(tmp_path)]) == 2
    assert "did you mean 'startup'" in capsys.readouterr().err

    assert main(["perf", "--models", "resnet18", "--results", str(tmp_path)]) == 2
    assert "did you mean 'resnet50'" in capsys.readouterr().err
    nothing = ["perf", "--only", "compiled", "--models", "vgg11", "--results", str(tmp_path)]
    assert main(nothing) == 2
    assert "no measurement of compiled uses vgg11; leave out --models" in capsys.readouterr().err


def test_a_new_measurement_keeps_the_files_of_all_earlier_ones(tmp_path: Path) -> None:
    """Also of two measurements that ended within one second."""
    contents = []
    for seconds in (1.0, 2.0, 3.0):
        with hold_folder(tmp_path) as folder:
            move_earlier_files(folder)
            assert not list(folder.iterdir())
            write_measurements([], settings(tmp_path, seconds), folder)
            os.utime(folder / "perf.csv", (1e9, 1e9))
        contents.append((folder / "environment.json").read_bytes())
    kept = sorted(tmp_path.glob("perf-*"))
    assert [path.name for path in kept] == ["perf-20010909-014640", "perf-20010909-014640-2"]
    folders = [*kept, folder]
    assert [(path / "environment.json").read_bytes() for path in folders] == contents


def test_a_refused_measurement_keeps_the_earlier_files_in_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with hold_folder(tmp_path) as folder:
        write_measurements([], settings(tmp_path), folder)
        assert main(["perf", "--only", "startup", "--results", str(tmp_path)]) == 2
    assert "another freezebench perf writes" in capsys.readouterr().err
    assert main(["perf", "--cases", "prefix 5%", "--results", str(tmp_path)]) == 2
    assert "freeze state 'prefix 5%' is unknown" in capsys.readouterr().err
    nothing = ["perf", "--only", "compiled", "--models", "vgg11", "--results", str(tmp_path)]
    assert main(nothing) == 2
    assert (folder / "perf.csv").exists()
    assert not list(tmp_path.glob("perf-*"))


def test_a_folder_that_cannot_be_made_is_reported_before_the_first_measurement(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert main(["perf", "--only", "startup", "--results", str(tmp_path / "file")]) == 2
    captured = capsys.readouterr()
    assert "is a file, but must be a folder" in captured.err
    assert "startup" not in captured.out


def test_measurements_are_never_without_their_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Expect environment.json before perf.csv, which states neither precision nor machine."""

    def stop_after(path: Path, text: str) -> None:
        write_atomically(path, text)
        raise KeyboardInterrupt

    monkeypatch.setattr("bench.perf.report.write_atomically", stop_after)
    with pytest.raises(KeyboardInterrupt):
        write_measurements([], settings(tmp_path), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["environment.json"]
