"""Tests of the studies of the predictor on synthetic runs: labels, use in runs, cost."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.cli.main import main
from bench.errors import UserError
from bench.planning.sweep import load_sweep
from bench.results.run_folder import RunFolder
from strategies.smartfrz.studies import in_use_study, label_study
from strategies.smartfrz.studies.label_study import FreezeHarm, measure_wrong_freezing, rank_rules
from strategies.smartfrz.training.labels import Rule
from strategies.smartfrz.training.source_runs import load_source_sweep, refuse_targets
from tests.support.paths import ROOT

TIMES = torch.linspace(0, 1, 11, dtype=torch.float64)
# The CKA of layer 0 is constant from 0.3 on, that of layer 1 from 0.7 on.
CURVE = torch.stack([(TIMES / c).clamp(max=1) for c in (0.3, 0.7)], dim=1)
RULE = Rule("stable", k=2, epsilon=0.05)


def test_wrong_freezing_is_the_layer_time_of_freezes_before_convergence() -> None:
    assert measure_wrong_freezing(RULE, CURVE, TIMES, torch.tensor([0.5, 0.8])) == 0
    assert measure_wrong_freezing(RULE, CURVE, TIMES, torch.tensor([0.2, 0.8])) == pytest.approx(
        0.4
    )
    assert measure_wrong_freezing(RULE, CURVE, TIMES, torch.tensor([0.45, 0.5])) == pytest.approx(
        0.25
    )
    assert measure_wrong_freezing(None, CURVE, TIMES, torch.tensor([0.5, 1.0])) == pytest.approx(
        0.25
    )


def test_a_layer_that_never_freezes_is_never_wrong() -> None:
    assert measure_wrong_freezing(RULE, CURVE, TIMES, torch.tensor([1.0, 1.0])) == 0


def test_the_rule_that_explains_the_lost_accuracy_ranks_first() -> None:
    draws = torch.rand(40, 2, generator=torch.Generator().manual_seed(0))
    truth = Rule("stable", k=2, epsilon=0.01)
    curves = {("a", "x"): (CURVE, TIMES), ("b", "x"): (CURVE, TIMES)}
    harmed = [
        FreezeHarm(pair, 10 * measure_wrong_freezing(truth, CURVE, TIMES, times), times)
        for pair in curves
        for times in draws
    ]
    rows = rank_rules(harmed, curves)
    best = {name for name, rho, _, _ in rows if rho == pytest.approx(1)}
    assert "stable, k = 2, ε = 0.01" in best
    assert "none" not in best


def test_lost_accuracy_and_freeze_steps_are_read_from_results(tmp_path: Path) -> None:
    sweep = load_sweep("harm", "laptop", seeds=1)
    for entry in sweep.entries:
        folder = RunFolder(tmp_path, entry.spec.id)
        folder.create()
        full = entry.roles["method"] == "full"
        at = [None, None] if full else [10, 40]
        layers = [{"frozen_at_step": step} for step in [*at, None]]
        values = {"status": "done", "accuracy": 90.0 if full else 88.5, "steps": 40}
        folder.write("result.json", {**values, "layers": layers})
    harmed = label_study.read_harmed(sweep, tmp_path)
    assert len(harmed) == 16
    assert {h.lost for h in harmed} == {1.5}
    assert harmed[0].freeze_times.tolist() == [0.25, 1.0]
    RunFolder(tmp_path, sweep.entries[0].spec.id).remove("result.json")
    with pytest.raises(UserError, match="no accuracy"):
        label_study.read_harmed(sweep, tmp_path)


def test_each_pair_of_the_label_study_has_a_recorded_run() -> None:
    harm, sources = load_sweep("harm", "laptop"), load_source_sweep("laptop")
    recorded = label_study.select_recorded(harm, sources)
    roles = {e.spec.id: e.roles for e in sources.entries}
    for (model, dataset), spec in recorded.items():
        found = roles[spec.id]
        assert (found["model"], found["dataset"], found["method"]) == (model, dataset, "as used")
    assert recorded.keys() == {(e.roles["model"], e.roles["dataset"]) for e in harm.entries}
    needed = label_study.list_needed(recorded.values(), sources)
    planned = {spec.id for spec in needed}
    assert len(planned) == len(needed) < len(sources.specs)
    assert all(need in planned for spec in needed for need in spec.needs)
    assert planned >= {spec.reference.removeprefix("run:") for spec in recorded.values()}


def test_a_pair_without_a_recorded_run_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "harm.toml"
    text = (ROOT / "sweeps" / "harm.toml").read_text()
    file.write_text(text.replace("[datasets.phonetic]", "[datasets.few]").replace(
        '["phonetic", "pairs"]', '["few", "pairs"]'
    ))  # fmt: skip
    with pytest.raises(UserError, match="vgg11 on few") as error:
        label_study.select_recorded(load_sweep(str(file), "laptop"), load_source_sweep("laptop"))
    assert "on pairs" not in str(error.value)


def test_smartfrz_is_compared_with_its_controls(tmp_path: Path) -> None:
    sweep = load_sweep("used", "laptop")
    lost = {"full": 0.0, "smartfrz 0.5": 0.5, "at_once 0.5": 0.75, "shortened 0.5": 0.25}
    outcomes = []
    for model, extra in (("vgg11", 0.0), ("resnet50", 1.0)):
        entries = [
            e
            for e in sweep.entries
            if (e.roles["model"], e.roles["dataset"]) == (model, "phonetic")
            and e.roles["method"] in lost
        ]
        for entry in entries:
            folder = RunFolder(tmp_path, entry.spec.id)
            folder.create()
            accuracy = 90 + extra - lost[entry.roles["method"]]
            spent = 100.0 if entry.roles["method"] == "full" else 70.0
            flops = {"exact": {"total": spent}, "decide": 1.0, "full_exact": 100.0}
            values: dict[str, Any] = {"status": "done", "accuracy": accuracy, "flops": flops}
            folder.write("result.json", values)
        outcomes += in_use_study.summarise(entries, tmp_path)
    ours, prefix = outcomes[0], outcomes[1]
    assert (ours.model, ours.task, ours.method, ours.matched) == (
        "vgg11",
        "phonetic",
        "smartfrz 0.5",
        "",
    )
    assert (ours.lost, ours.saved) == pytest.approx((0.5, 0.29))
    assert (prefix.method, prefix.matched) == ("at_once 0.5", "smartfrz 0.5")
    lines = in_use_study.format_outcomes(outcomes).splitlines()
    assert lines[1].split() == ["smartfrz", "0.5", "29.0%", "+0.50", "±", "0.00"]
    assert lines[2].split()[-3:] == ["+0.25", "±", "0.00"]
    assert lines[3].split()[-3:] == ["-0.25", "±", "0.00"]


def test_the_in_use_study_uses_source_tasks_only() -> None:
    refuse_targets(load_sweep("used", "laptop"))


def test_recorded_runs_use_source_tasks_only(tmp_path: Path) -> None:
    assert load_source_sweep("laptop").entries
    with pytest.raises(UserError, match="digits10 is not a source task"):
        refuse_targets(load_sweep("table2", "laptop", seeds=1))


def test_the_shipped_predictors_were_trained_on_source_tasks_only() -> None:
    from safetensors import safe_open

    from strategies.smartfrz.predictor_file import FOLDER

    files = sorted(FOLDER.glob("*.safetensors"))
    assert files
    for path in files:
        with safe_open(path, framework="pt") as file:
            facts = json.loads(file.metadata()["provenance"])
        for name in [*facts["data"], *facts["pretraining"]]:
            assert name.partition(":")[0] == "glyphs", path


def test_info_prints_the_cost_of_any_window_and_size(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predictor", "info", "--window", "30"]) == 0
    out = capsys.readouterr().out
    assert "1,037,122 parameters" in out  # the paper states 4 MB
    assert "history 6.5 MB" in out  # the paper states about 6 MB
    assert main(["predictor", "info", "--window", "1"]) == 2
    assert "--window 1" in capsys.readouterr().err


def test_info_takes_the_predictor_of_a_profile_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Check that a profile file without a predictor of its own uses the predictor of `laptop`."""
    mine = tmp_path / "mine.toml"
    shutil.copy(ROOT / "sweeps" / "profiles" / "laptop.toml", mine)
    texts = []
    for profile in ("laptop", str(mine)):
        assert main(["predictor", "info", "--profile", profile]) == 0
        texts.append(capsys.readouterr().out)
    assert texts[0] == texts[1] != ""
