"""Tests of runs whose frozen layers change at every step: exact resume and FLOPs, small folder."""

from pathlib import Path
from typing import Any

import pytest

from bench.costs.accounting import MOST_STATES
from bench.errors import Stopped, UserError
from bench.perf.replay import find_timing_obstacle
from bench.results.decisions import (
    decode_layers,
    encode_layers,
    list_frozen_sets,
    read_decisions,
)
from bench.results.run_folder import RunFolder
from bench.spec import Spec
from bench.training.freezing_stage import run_stage
from bench.training.loop import execute
from bench.training.run_state import RunState
from bench.training.training_step import take_step
from tests.support.interrupted_runs import assert_same_bits, execute_with_stops
from tests.support.paths import SUPPORT
from tests.support.tiny_runs import execute_run, make_tiny_spec

SWITCHING = f"{SUPPORT}/switching.py"


def make_spec(strategy: str = "RandomSets", **changes: Any) -> Spec:
    return make_tiny_spec(f"{SWITCHING}:{strategy}", keep_model=True, **changes)


def sum_flops_by_step(spec: Spec, results: Path) -> dict[str, float]:
    """Return the FLOPs of a run as the sum over its steps, from its decisions."""
    run = RunState(spec, results / "other")
    sets = dict(list_frozen_sets(read_decisions(RunFolder(results, spec.id).path)))
    frozen: frozenset[int] = frozenset()
    totals = {"exact": 0.0, "paper": 0.0}
    for step in range(run.view.total_steps):
        frozen = sets.get(step, frozen)
        samples = len(run.batches.batch(step)[1])
        totals["exact"] += run.flops.exact(frozen).total * samples
        totals["paper"] += run.flops.paper(frozen).total * samples
    return totals


@pytest.mark.parametrize("sets", [0, 3])
def test_flops_equal_the_sum_over_the_steps(sets: int, tmp_path: Path) -> None:
    """Use four recurring sets, or more sets than are recorded, whose rest is counted together."""
    spec = make_spec(options={"sets": sets}, epochs=10, train_limit=120)
    result = execute_run(spec, tmp_path)
    states = result["freeze_states"]
    assert sum(s["steps"] for s in states) == result["steps"] == 40
    assert sum(s["samples"] for s in states) == 10 * 120
    own = [tuple(s["frozen"]) for s in states if s["frozen"] is not None]
    assert len(own) == len(set(own))
    if sets:
        assert len(own) == len(states) == 4  # nothing is frozen at the first step
        assert max(s["steps"] for s in states) > 10
    else:
        assert len(own) == MOST_STATES == len(states) - 1
        merged = states[-1]
        assert merged["frozen"] is None
        assert 0 < merged["saved_bytes"] <= merged["merged"]["saved_bytes_peak"]
        assert "freeze states" in find_timing_obstacle(spec, result)
    for convention, expected in sum_flops_by_step(spec, tmp_path).items():
        assert result["flops"][convention]["total"] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("strategy", ["RandomSets", "KeptSets", "Observing"])
@pytest.mark.parametrize(
    "changes",
    [
        {"options": {}},
        {"optimizer": "adamw", "lr": 1e-3},
        {"epochs": 10, "train_limit": 80, "batch_size": 16, "model": "laptop_resnet"},
    ],
    ids=["sgd", "adamw", "merged"],
)
def test_stops_do_not_change_a_run_that_switches_at_every_step(
    strategy: str, changes: dict[str, Any], tmp_path: Path
) -> None:
    spec = make_spec(strategy, **changes)
    execute_run(spec, tmp_path / "straight")
    assert execute_with_stops(7, spec, tmp_path / "broken") >= 1
    assert_same_bits(spec, tmp_path / "straight", tmp_path / "broken")


def test_a_missing_decisions_file_gives_a_clear_error(tmp_path: Path) -> None:
    spec, calls = make_spec(), iter([False, False, True])
    with pytest.raises(Stopped):
        execute(spec, tmp_path, stop=lambda: next(calls))
    path = RunFolder(tmp_path, spec.id).path / "decisions.jsonl"
    kept = path.read_text()
    path.write_text(kept.splitlines(keepends=True)[0])
    with pytest.raises(UserError, match=r"lacks lines .*1 of 3 .*; delete checkpoint\.pt"):
        execute(spec, tmp_path)
    path.write_text(kept + '{"step": 4, "frozen": "0"}\n')  # written after the checkpoint
    execute(spec, tmp_path)
    steps = [line["step"] for line in read_decisions(path.parent)]
    assert steps == list(range(1, 13))


def test_a_thousand_switches_add_at_most_100_kb(tmp_path: Path) -> None:
    """Measure the run folder without the weights and the epochs, which no switch changes.

    The optimizer state is kept, so that its size does not depend on the last set.
    """
    small = {"epochs": 50, "train_limit": 40, "batch_size": 2, "lr": 1e-3}
    spec = make_spec("KeptSets", model="laptop_resnet_deep", **small)
    folder, checkpoints = RunFolder(tmp_path, spec.id), []
    for stop_at in (200, 999):
        done: list[int] = []
        with pytest.raises(Stopped):
            execute(
                spec,
                tmp_path,
                stop=lambda at=stop_at, done=done: done[-1] == at,
                progress=lambda step, steps, done=done: done.append(step),
            )
        checkpoints.append(folder.checkpoint.stat().st_size)
    assert execute(spec, tmp_path)["steps"] == 1000
    lines = read_decisions(folder.path)
    assert [line["step"] for line in lines] == list(range(1, 1001))
    assert len({line["frozen"] for line in lines}) > 900
    others = ("model.safetensors", "epochs.jsonl")
    size = sum(file.stat().st_size for file in folder.path.iterdir() if file.name not in others)
    assert size <= 100_000
    # A checkpoint holds the time of every step (9 bytes) and the line of every epoch.
    assert checkpoints[1] - checkpoints[0] < 800 * 9 + 40 * 300


def test_the_compact_format_and_the_full_format_give_the_same_sets(tmp_path: Path) -> None:
    for layers in ([], [0], [0, 2], [63], range(70)):
        assert decode_layers(encode_layers(layers)) == frozenset(layers)
    assert encode_layers([0, 2]) == "5"
    source = (SUPPORT / "switching.py").read_text()
    file = tmp_path / "full.py"
    file.write_text(source.replace("switches_often = True", "switches_often = False"))
    sets, records = [], []
    for spec in (make_spec(), make_tiny_spec(f"{file}:RandomSets", keep_model=True)):
        result = execute_run(spec, tmp_path)
        lines = read_decisions(RunFolder(tmp_path, spec.id).path)
        records.append(result["flops"] | {"accuracy": result["accuracy"]})
        sets.append(list_frozen_sets(lines))
    assert len(lines) > 12
    assert sets[0] == sets[1]
    assert [step for step, _ in sets[0]] == list(range(1, 13))
    assert records[0] == records[1]


@pytest.mark.parametrize("option", ["compiled", "cache_prefix", "fold_norms"])
def test_options_that_prepare_every_freeze_state_are_rejected(option: str, tmp_path: Path) -> None:
    spec = make_spec(augment="none", **{option: True})
    with pytest.raises(UserError, match=rf"often changes .* and {option} .*set {option} = false"):
        execute(spec, tmp_path)


def test_snapshots_and_probes_are_charged_to_the_decide_clock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, seen = make_spec("Observing"), set()
    init = RunState.__init__

    def watched(run: RunState, *args: Any, **named: Any) -> None:
        init(run, *args, **named)
        for name in ("_probe_loss", "_probe"):
            inner = getattr(run.view, name)

            def call(*values: Any, inner: Any = inner, name: str = name) -> Any:
                seen.add((name, run.clocks._region))
                return inner(*values)

            setattr(run.view, name, call)

    monkeypatch.setattr(RunState, "__init__", watched)
    result = execute_run(spec, tmp_path)
    assert seen == {("_probe_loss", "decide"), ("_probe", "decide")}
    assert result["clocks"]["decide"] > 0
    assert result["flops"]["decide"] > 0


def test_no_switch_waits_for_the_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace the two methods in which clocks and accounting wait for the device; record calls."""
    run = RunState(make_spec(), tmp_path)
    regions: list[str] = []
    monkeypatch.setattr(run.clocks, "time_region", lambda name: regions.append(name))
    monkeypatch.setattr(run.accounting, "read_device", lambda: regions.append("read_device"))
    run.strategy.start(run.view)
    run.model.train()
    run.accounting.enter_state(0, frozenset())
    for _ in range(3):
        take_step(run)
        run_stage(run)
    assert run.view.frozen
    assert not regions
    assert len(run.decisions) == 3
