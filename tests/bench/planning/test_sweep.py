"""Tests of the expansion of sweeps and profiles into runs."""

from pathlib import Path

import pytest

from bench.models.anatomy import analyze_model
from bench.models.catalogue import build
from bench.planning.plan import make_plan
from bench.planning.sweep import Sweep, join_sweeps, load_sweep
from bench.planning.sweep_files import list_profiles, list_tables, load_profile
from strategies.smartfrz.predictor_file import FOLDER


def test_table_2_has_every_cell_and_controls_only_add_cells(tmp_path: Path) -> None:
    plain, wide = load_sweep("table2", "laptop"), load_sweep("table2", "laptop", controls=True)
    assert len(plain.entries) == 4 * 2 * 7 * 5
    assert len(wide.entries) == 4 * 2 * 11 * 5
    assert len({e.spec.id for e in wide.entries}) == len(wide.entries)
    ids = {e.spec.id for e in wide.entries}
    assert {e.spec.id for e in plain.entries} < ids
    assert plain.artifacts == ()  # the backbones are shipped
    assert {e.spec.weights for e in plain.entries} == {"file"}
    todo = make_plan(wide.specs, tmp_path).todo
    assert [not spec.match for spec in todo] == sorted((not s.match for s in todo), reverse=True)


def test_matched_runs_list_all_seeds_of_the_cell_they_are_matched_to() -> None:
    sweep = load_sweep("table2", "laptop", controls=True)
    cells: dict[tuple[str, ...], set[str]] = {}
    for entry in sweep.entries:
        cells.setdefault(tuple(entry.roles.values()), set()).add(entry.spec.id)
    for entry in sweep.entries:
        model, dataset, method = entry.roles.values()
        matched = method in ("linear", "prefix", "at_once", "random", "shortened")
        expected = cells[model, dataset, "smartfrz"] if matched else set()
        assert set(entry.spec.match) == expected


def test_the_command_of_a_sweep_names_only_the_files_that_its_runs_read() -> None:
    """A page of several sweeps names the command of each, and a command refuses other files."""
    predictor = str(FOLDER / "laptop-w30-n2048.safetensors")
    for name, given in (("table1", False), ("table2", True)):
        asked = load_sweep(name, "laptop", files={"predictor": predictor}).asked
        assert ("--predictor" in asked) == given


def test_all_strategies_train_with_the_same_hyperparameters() -> None:
    sweep = load_sweep("table2", "laptop")
    shared = ("model", "data", "epochs", "lr", "weights", "weight_decay", "resolution", "augment")
    groups: dict[tuple[str, str], set[tuple[object, ...]]] = {}
    for entry in sweep.entries:
        key = entry.roles["model"], entry.roles["dataset"]
        groups.setdefault(key, set()).add(tuple(getattr(entry.spec, f) for f in shared))
    assert all(len(settings) == 1 for settings in groups.values())


@pytest.mark.parametrize("profile", list_profiles())
def test_profiles_can_be_planned_without_data_files(profile: str) -> None:
    assert load_profile(profile)["description"]
    assert len(load_sweep("table2", profile, seeds=1).entries) == 56


def test_a_model_can_start_from_weights_in_a_local_file(tmp_path: Path) -> None:
    file = tmp_path / "vgg.safetensors"
    file.write_bytes(b"weights")
    sweep = load_sweep("table2", "paper", seeds=1, files={"weights:vgg11": str(file)})
    for entry in sweep.entries:
        local = entry.roles["model"] == "vgg11"
        assert entry.spec.weights == ("file" if local else "pretrained")
        assert ("weights" in entry.spec.paths) == local


TABLES = list_tables()


@pytest.fixture(scope="module")
def sweeps() -> dict[str, Sweep]:
    """Return the sweeps of all tables on the laptop profile."""
    return {name: load_sweep(name, "laptop") for name in TABLES}


def cell(sweep: Sweep, method: str) -> set[str]:
    """Return the ids of all runs of a method."""
    return {e.spec.id for e in sweep.entries if e.roles["method"] == method}


@pytest.mark.parametrize("name", [*TABLES, "leaderboard"])
def test_every_table_can_be_planned_for_the_paper_profile(name: str, tmp_path: Path) -> None:
    sweep = load_sweep(name, "paper", seeds=1)
    assert sweep.table == name
    assert len(make_plan(sweep.specs, tmp_path).todo) == len(sweep.specs)


@pytest.mark.parametrize(
    ("table", "method", "in_table2"),
    [
        ("table1", "full", "full"),
        ("table4", "full", "full"),
        ("table4", "window 30", "smartfrz"),
        ("table5", "size 1024", "smartfrz"),
        ("table8", "smartfrz", "smartfrz"),
        ("table8", "t0 0.5", "linear"),
        ("table9", "M 4", "autofreeze"),
    ],
)
def test_runs_with_an_option_at_its_default_are_runs_of_table_2(
    table: str, method: str, in_table2: str, sweeps: dict[str, Sweep]
) -> None:
    here = cell(sweeps[table], method)
    assert here
    assert here <= cell(sweeps["table2"], in_table2)


def test_tables_4_and_5_are_aliases_of_the_sweeps_window_and_tailoring() -> None:
    for table, name in (("table4", "window"), ("table5", "tailoring")):
        one, other = load_sweep(table, "laptop"), load_sweep(name, "laptop")
        assert [e.spec.id for e in one.entries] == [e.spec.id for e in other.entries]
        assert one.table == other.table == table


def test_linear_freezing_with_every_t0_is_matched_to_smartfrz(sweeps: dict[str, Sweep]) -> None:
    matched = cell(sweeps["table8"], "smartfrz")
    linear = [e.spec for e in sweeps["table8"].entries if e.spec.strategy == "linear"]
    assert len(linear) == 4 * 5
    assert all(set(spec.match) == matched for spec in linear)


@pytest.mark.parametrize("name", ["table3", "table7"])
@pytest.mark.parametrize("profile", list_profiles())
def test_runs_from_scratch_load_no_weights_and_share_hyperparameters(
    name: str, profile: str
) -> None:
    sweep = load_sweep(name, profile)
    assert all(spec.weights == "" for spec in sweep.specs)
    assert sweep.artifacts == ()
    shared = ("epochs", "lr", "optimizer", "weight_decay", "warmup", "batch_size", "augment")
    settings: dict[str, set[tuple[object, ...]]] = {}
    for entry in sweep.entries:
        values = tuple(getattr(entry.spec, field) for field in shared)
        settings.setdefault(entry.roles["dataset"], set()).add(values)
    assert all(len(kinds) == 1 for kinds in settings.values())
    if profile == "paper":
        epochs = {e.roles["dataset"]: e.spec.epochs for e in sweep.entries}
        expected = {"table3": {"cifar100": 160, "imagenet": 100}, "table7": {"imagenet": 300}}
        assert epochs == expected[name]


def test_half_of_the_layers_in_table_5_have_at_least_4096_weights(
    sweeps: dict[str, Sweep],
) -> None:
    for entry in sweeps["table5"].entries[::25]:
        net_layers, _ = analyze_model(entry.spec.model, 100, entry.spec.resolution)
        model = build(entry.spec.model, 100, entry.spec.resolution, seed=0)
        weights = [model.get_parameter(layer.parameters[0]).numel() for layer in net_layers[:-1]]
        assert sum(size >= 4096 for size in weights) >= len(weights) / 2


def test_joined_sweeps_contain_each_run_once_and_keep_all_kept_models(
    sweeps: dict[str, Sweep], tmp_path: Path
) -> None:
    whole = join_sweeps(list(sweeps.values()))
    ids = [spec.id for spec in whole.specs]
    by_sweep = [{spec.id for spec in sweep.specs} for sweep in sweeps.values()]
    assert len(ids) == len(set(ids))
    assert set(ids) == set.union(*by_sweep)
    assert whole.shared == sum(sum(run in part for part in by_sweep) > 1 for run in set(ids))
    kept = {spec.id for sweep in sweeps.values() for spec in sweep.specs if spec.keep_model}
    assert {spec.id for spec in whole.specs if spec.keep_model} == kept
    assert len(make_plan(whole.specs, tmp_path).todo) == len(ids)
    assert join_sweeps([sweeps["table1"]]) is sweeps["table1"]


def test_a_weights_file_replaces_a_backbone_but_not_training_from_scratch(
    tmp_path: Path,
) -> None:
    file = tmp_path / "own.safetensors"
    file.write_bytes(b"weights")
    files = {"weights:resnet50": str(file)}
    own = load_sweep("table2", "laptop", seeds=1, files=files)
    for entry in own.entries:
        mine = entry.roles["model"] == "resnet50"
        assert entry.spec.weights == "file"
        assert (entry.spec.paths["weights"] == str(file)) == mine
    scratch = load_sweep("table3", "laptop", seeds=1, files=files)
    assert all(spec.weights == "" for spec in scratch.specs)


def test_a_method_can_start_from_random_weights_in_place_of_a_shipped_backbone() -> None:
    sweep = load_sweep("frontier", "laptop", seeds=1)
    for entry in sweep.entries:
        scratch = entry.roles["method"] == "from scratch"
        assert (entry.spec.weights == "") == scratch
        assert ("weights" in entry.spec.contents) != scratch


def test_of_the_fields_that_a_sweep_sets_a_reference_gets_only_those_of_samples_and_inputs(
    tmp_path: Path,
) -> None:
    file = tmp_path / "mine.toml"
    text = """
title = "Mine"
{shared}
[grid]
models = ["vgg11"]
datasets = ["cifar10"]
seeds = [0]
[[methods]]
name = "cka_oracle"
[[methods]]
name = "longer"
strategy = "full"
set = {{epochs = 20}}
"""
    file.write_text(text.format(shared=""))
    plain = load_sweep(str(file), "laptop")
    file.write_text(text.format(shared="set = {epochs = 3, score_epochs = true}"))
    scored = load_sweep(str(file), "laptop")
    assert [e.spec.epochs for e in scored.entries] == [3, 20]
    assert all(e.spec.score_epochs for e in scored.entries)
    assert scored.artifacts == plain.artifacts
    file.write_text(text.format(shared='set = {evaluate_on = "validation", train_limit = 64}'))
    checked = load_sweep(str(file), "laptop")
    (reference,) = (a for a in checked.artifacts if a.seed >= 1000)
    for spec in (reference, *checked.specs):
        assert (spec.evaluate_on, spec.train_limit) == ("validation", 64)
