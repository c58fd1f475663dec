"""Runs with one seed are equal until the first freeze; records are complete and consistent."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from bench.costs.clocks import REGIONS
from bench.errors import Stopped, UserError
from bench.files import read_json
from bench.results.run_folder import RunFolder
from bench.training.freezing_stage import run_stage
from bench.training.loop import execute, prepare
from bench.training.run_record import record_environment
from bench.training.run_state import RunState
from bench.training.training_step import take_step
from tests.support.tiny_runs import execute_run, load_essence, load_weights, make_tiny_spec

UNTOUCHED_RATES = ["full", "autofreeze", "probe", "random"]


def weights_until_first_freeze(strategy: str, results: Path) -> tuple[list[bytes], int]:
    """Return the bytes of all weights after every step up to the first freeze, and its step."""
    run = RunState(make_tiny_spec(strategy), results)
    folder = RunFolder(results, run.spec.id)
    folder.create()
    prepare(run, folder)
    bits = []
    while run.view.step < run.view.total_steps and not run.view.frozen:
        take_step(run)
        if run.strategy.observations().due(run.view.step, run.view.steps_per_epoch):
            run.strategy.observe(run.view)
        run_stage(run)
        bits.append(
            b"".join(p.detach().cpu().numpy().tobytes() for p in run.model.state_dict().values())
        )
    return bits, run.view.step


def test_runs_with_one_seed_have_identical_weights_until_the_first_freeze(tmp_path: Path) -> None:
    full, steps = weights_until_first_freeze("full", tmp_path)
    assert len(set(full)) == steps == 12
    for strategy in UNTOUCHED_RATES[1:]:
        bits, until = weights_until_first_freeze(strategy, tmp_path)
        assert bits == full[: len(bits)], strategy
        assert strategy != "autofreeze" or until >= 2


def test_one_seed_is_reproducible_and_two_seeds_differ(tmp_path: Path) -> None:
    one = execute_run(make_tiny_spec(keep_model=True), tmp_path / "a")
    kept = RunFolder(tmp_path / "a", one["id"])
    assert (
        kept.model.stat().st_mode == (kept.path / "result.json").stat().st_mode
    )  # set by the umask
    again = execute_run(make_tiny_spec(keep_model=True), tmp_path / "b")
    other = execute_run(make_tiny_spec(seed=1), tmp_path / "a")
    assert one["accuracy"] == again["accuracy"]
    assert load_essence(make_tiny_spec(), tmp_path / "a") == load_essence(
        make_tiny_spec(), tmp_path / "b"
    )
    first, second = (load_weights(make_tiny_spec(), tmp_path / place) for place in "ab")
    assert all(torch.equal(first[k], second[k]) for k in first)
    assert other["id"] != one["id"]
    assert other["cell"] == one["cell"]


@pytest.mark.parametrize(
    "strategy",
    [
        "full",
        "linear",
        "autofreeze",
        "random",
        "at_once",
        "prefix",
        "shortened",
        "composer",
        "svcca",
        "spfde",
        "pipetransformer",
    ],
)
def test_recorded_totals_are_consistent(strategy: str, tmp_path: Path) -> None:
    spec = make_tiny_spec(strategy)
    result = execute_run(spec, tmp_path)
    assert sum(result["clocks"][r] for r in REGIONS) == pytest.approx(result["clocks"]["whole"])
    assert sum(result["cpu"][r] for r in REGIONS) == pytest.approx(result["cpu"]["whole"])
    states = result["freeze_states"]
    assert sum(s["steps"] for s in states) == result["steps"]
    assert all(s["saved_bytes"] > 0 and s["state_bytes"] > 0 for s in states if s["steps"])
    exact, paper = result["flops"]["exact"], result["flops"]["paper"]
    for count in (exact, paper):
        assert count["forward"] + count["backward"] == pytest.approx(count["total"])
    frozen = [layer for layer in result["layers"] if layer["frozen_at_step"] is not None]
    if strategy == "full":
        assert exact["total"] == pytest.approx(result["flops"]["full_exact"])
        assert paper["total"] == pytest.approx(result["flops"]["full_paper"])
        assert not frozen
    else:
        assert exact["total"] < result["flops"]["full_exact"]
    folder = RunFolder(tmp_path, spec.id)
    lines = [json.loads(line) for line in (folder.path / "decisions.jsonl").open()]
    applied = {d["layer"] for d in lines if d["freeze"] and d["step"] < result["steps"]}
    assert applied == {layer["index"] for layer in frozen}
    assert all(layer["index"] != len(result["layers"]) - 1 for layer in frozen)
    assert math.isfinite(result["accuracy"])


@pytest.mark.parametrize("how", [{}, {"cache_prefix": True, "augment": "none"}], ids=str)
def test_a_matched_run_has_the_flops_of_the_runs_it_is_matched_to(
    tmp_path: Path, how: dict[str, Any]
) -> None:
    """Count the FLOPs that a prefix cache saves as if they were spent."""

    def cost(result: dict[str, Any]) -> float:
        spared = sum(s["reused"] * s["prefix_exact"] for s in result["freeze_states"])
        assert (spared > 0) <= bool(how)
        return result["flops"]["exact"]["total"] + spared

    cell = [make_tiny_spec("autofreeze", seed=s, **how) for s in (0, 1)]
    mean = sum(cost(execute_run(spec, tmp_path)) for spec in cell) / 2
    for strategy in ("linear", "shortened", "random", "at_once", "prefix", "spfde"):
        spec = make_tiny_spec(strategy, options={}, match=tuple(s.id for s in cell), **how)
        result = execute_run(spec, tmp_path)
        assert result["budget"] == pytest.approx(mean)
        step = result["flops"]["full_exact"] / 12
        assert mean - 2 * step <= cost(result) <= mean * (1 + 1e-9)


def test_a_diverging_run_has_the_status_diverged(tmp_path: Path) -> None:
    spec = make_tiny_spec(lr=1e6)
    result = execute_run(spec, tmp_path)
    assert result["status"] == "diverged"
    assert result["accuracy"] is None
    assert "not finite" in result["reason"]
    assert RunFolder(tmp_path, spec.id).is_complete(spec.with_changes(keep_model=True))


def test_checkpointing_of_an_image_model_raises_before_training(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no blocks that transformers can checkpoint; omit"):
        execute_run(make_tiny_spec(model="laptop_resnet", checkpointing=True), tmp_path)


LATE = """
import numpy as np
from strategies.base import PerEpoch, Strategy, Decision

class Late(Strategy):
    name = "late"
    def stages(self):
        return PerEpoch(1)
    def decide(self, view):
        share = 2 if view.step < view.total_steps else 1
        return [Decision(np.int64(i), True, 0.5, 1.0) for i in view.active if i % share == 0]
"""


def test_decisions_after_the_last_step_are_recorded_but_not_applied(
    tmp_path: Path,
) -> None:
    (tmp_path / "late.py").write_text(LATE)  # it returns numpy integers, which json cannot write
    spec = make_tiny_spec(f"{tmp_path / 'late.py'}:Late")
    result = execute_run(spec, tmp_path)
    folder = RunFolder(tmp_path, spec.id).path
    lines = [json.loads(line) for line in (folder / "decisions.jsonl").read_text().splitlines()]
    assert {line["step"] for line in lines} == {6, 12}
    for layer in result["layers"][:-1]:
        assert layer["frozen_at_step"] == (6 if layer["index"] % 2 == 0 else None)


def test_a_strategy_file_changed_after_planning_is_rejected(tmp_path: Path) -> None:
    """Change the file after planning. The run id contains its hash, so the change is refused."""
    file = tmp_path / "late.py"
    file.write_text(LATE)
    spec = make_tiny_spec(f"{file}:Late")
    file.write_text(LATE.replace("else 1", "else 3"))
    with pytest.raises(UserError, match=r"strategy .*late\.py has changed since"):
        execute(spec, tmp_path)
    assert make_tiny_spec(f"{file}:Late").id != spec.id


def test_environment_lists_each_device_of_a_run_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunState(make_tiny_spec(), tmp_path)
    folder = RunFolder(tmp_path, run.spec.id)
    folder.create()
    recorded = []
    for name in ("L40S", "L4", "L4", "L40S"):
        monkeypatch.setattr(
            "bench.machine.environment.get_device_name", lambda device, name=name: name
        )
        record_environment(run, folder)
        recorded.append(read_json(folder.path / "environment.json")["device"])
        folder.checkpoint.touch()
    assert recorded == ["L40S", *["L40S, then L4"] * 3]


def test_the_probe_is_a_fixed_batch_of_training_images(tmp_path: Path) -> None:
    run = RunState(make_tiny_spec(), tmp_path)
    (probe,) = run.view.probe(64)
    normalised = run.batches._prepare_inputs(run.batches._images)[0]
    for image in probe:
        assert (normalised == image).flatten(1).all(1).any()
    same_split = RunState(make_tiny_spec("autofreeze", seed=5), tmp_path)
    assert torch.equal(probe, same_split.view.probe(64)[0])
    other_split = RunState(make_tiny_spec("autofreeze", seed=3), tmp_path)
    assert not torch.equal(probe, other_split.view.probe(64)[0])


def test_streamed_images_give_reproducible_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = np.random.default_rng(0)
    for split, count in (("train", 10), ("val", 3)):
        for name in ("cat", "dog"):
            (tmp_path / split / name).mkdir(parents=True)
            for i in range(count):
                pixels = draw.integers(0, 256, (32, 32, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / split / name / f"{i}.png")
    spec = make_tiny_spec(data=f"folder:{tmp_path}", train_limit=0, batch_size=8, augment="none")
    monkeypatch.setattr("bench.data.images.image_folder.MEMORY", 0)
    monkeypatch.setattr(
        "bench.models.laptop.DROPOUT", 0.3
    )  # must not share random numbers with the loader
    streamed = execute_run(spec, tmp_path / "streamed")
    with pytest.raises(Stopped):
        execute(spec, tmp_path / "broken", stop=lambda: True)
    execute(spec, tmp_path / "broken")
    assert load_essence(spec, tmp_path / "broken") == load_essence(spec, tmp_path / "streamed")
    monkeypatch.undo()
    held = execute_run(spec.with_changes(normalisation="half"), tmp_path / "held")
    assert streamed["steps"] == held["steps"] == 2 * 3
    assert streamed["eval_count"] == held["eval_count"] == 6


def test_active_parameters_hold_the_gradients_of_each_active_layer(tmp_path: Path) -> None:
    """Check the gradients before a freeze, after it and after a thaw."""
    run = RunState(make_tiny_spec(), tmp_path)
    folder = RunFolder(tmp_path, run.spec.id)
    folder.create()
    prepare(run, folder)
    view = run.view
    for frozen in [(), (0, 1, 4), (1,), ()]:
        run.freezer.thaw(run.freezer.frozen - set(frozen))
        run.freezer.freeze(frozen)
        view.frozen = run.freezer.frozen
        take_step(run)
        listed = [p.grad for _, p in view.active_parameters() if p.grad is not None]
        expected = [g for layer in view.active for g in view.gradients(layer)]
        assert len(listed) == sum(len(view.layers[i].parameters) for i in view.active) > 0
        assert all(a is b for a, b in zip(listed, expected, strict=True))


@pytest.mark.parametrize("kept", [False, True])
def test_the_spec_decides_on_dropout_in_frozen_layers(kept: bool, tmp_path: Path) -> None:
    run = RunState(make_tiny_spec(frozen_dropout=kept), tmp_path)
    run.freezer.freeze(range(len(run.layers) - 1))
    run.model.train()
    frozen = [
        run.model.get_submodule(name) for layer in run.layers[:-1] for name in layer.weightless
    ]
    assert any(isinstance(module, torch.nn.Dropout) for module in frozen)
    assert {module.training for module in frozen} == {kept}


def test_the_spec_decides_on_nesterov_momentum(tmp_path: Path) -> None:
    for nesterov in (False, True):
        run = RunState(make_tiny_spec(nesterov=nesterov), tmp_path)
        assert [group["nesterov"] for group in run.optimizer.param_groups] == [nesterov]


def test_a_single_value_for_batchnorm_is_one_line(tmp_path: Path) -> None:
    spec = make_tiny_spec(model="laptop_resnet", batch_size=1, train_limit=10)
    with pytest.raises(UserError, match=r"BatchNorm needs two samples .*; use --batch-size 2"):
        execute_run(spec, tmp_path)
