"""Tests of sweeps and profiles: expansion into runs, validation, and the commands that use them."""

import errno
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from bench.cli.main import main
from bench.errors import UserError
from bench.models.anatomy import analyze_model
from bench.models.catalogue import build
from bench.planning.plan import make_plan
from bench.planning.sweep import Sweep, join_sweeps, load_sweep
from bench.planning.sweep_files import SWEEPS, list_profiles, list_tables, load_profile
from bench.results.run_folder import RunFolder
from tests.support.paths import ROOT


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


def test_a_run_whose_result_is_deleted_is_planned_again(tmp_path: Path) -> None:
    sweep = load_sweep("table2", "laptop", seeds=1)
    first = sweep.entries[0].spec
    folder = RunFolder(tmp_path, first.id)
    folder.create()
    folder.write("result.json", {"status": "done"})
    assert first.id in make_plan(sweep.specs, tmp_path).done
    folder.remove("result.json")
    assert first.id not in make_plan(sweep.specs, tmp_path).done


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("title = [", "not valid TOML"),
        ('title = "t"\n[grid]\nmodels=["resnet51"]\ndatasets=["cifar10"]\nseeds=[0]\n'
         '[[methods]]\nname="full"', "resnet51"),
        ('title = "t"\n[grid]\nmodels=["vgg11"]\ndatasets=["cifar10"]\nseeds=[0]\n'
         '[[methods]]\nname="fool"', "fool"),
    ],
)  # fmt: skip
def test_an_invalid_sweep_file_is_a_one_line_error(text: str, words: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(text)
    with pytest.raises(UserError, match=words) as caught:
        load_sweep(str(file), "laptop")
    assert "\n" not in str(caught.value)


GRID = '[grid]\nmodels=["vgg11"]\ndatasets=["cifar10"]\nseeds=[0]\n'
FULL = '[[methods]]\nname="full"\n'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("title = 3\n" + GRID + FULL, "title is 3; it must be a text"),
        ("title = 't'\n" + GRID + "[methods]\nname='full'", r"each headed \[\[methods\]\]"),
        ("title = 't'\n" + GRID.replace("[0]", "3") + FULL, "seeds is 3; it must be a list of wh"),
        (
            "title = 't'\n" + GRID.replace('["vgg11"]', '"vgg11"') + FULL,
            "models is 'vgg11'; it must",
        ),
        ("title = 't'\ntable = ''\n" + GRID + FULL, "table is ''; it must be a text"),
        ("title = 't'\n" + GRID + FULL + "match = ''", "full: match is ''; it must be a text"),
        ("title = 't'\ngrid = 1\n" + FULL, r"grid is 1; it must be a table, headed \[grid\]"),
        (
            "title = 't'\n" + GRID + FULL + "options = 'x'",
            "full: options is 'x'; it must be a table",
        ),
        ("title = 't'\n" + GRID + FULL + "scale = {lr = '2'}", "must be a table of numbers"),
        ("title = 't'\nmodels = ['a']\n" + GRID + FULL, r"must be tables, as \[models\.NAME\]"),
    ],
)
def test_a_value_of_the_wrong_type_in_a_sweep_is_a_one_line_error(
    text: str, words: str, tmp_path: Path
) -> None:
    test_an_invalid_sweep_file_is_a_one_line_error(text, words, tmp_path)


def test_a_value_of_the_wrong_type_in_a_profile_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    for text, words in (
        ("run = 1\nmodels = {}\ndatasets = {}", "run is 1"),
        ("", "run is missing"),
    ):
        file.write_text(text)
        with pytest.raises(UserError, match=words):
            load_sweep("table2", str(file))


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


METHODS = '[grid]\nmodels=["vgg11"]\ndatasets=["cifar10"]\nseeds=[0]\n[[methods]]\nname="full"\n'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('title = "t"\n' + METHODS + '[[methods]]\nname="full"\n', "two methods"),
        ('title = "t"\n' + METHODS + "option = {t0 = 0.3}\n", "option"),
        (METHODS, "title is missing"),
        ('title = "t"\n' + METHODS + '[[methods]]\nname="linear"\nmatch="smart"\n', "smart"),
    ],
)
def test_misspelled_and_missing_keys_of_a_sweep_are_errors(
    text: str, words: str, tmp_path: Path
) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(text)
    with pytest.raises(UserError, match=words):
        load_sweep(str(file), "laptop")


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


@pytest.mark.parametrize("name", TABLES)
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
    assert "--launcher slurm --profile paper --cluster gpu.toml" in " ".join(output.split())


def test_reports_describe_how_smartfrz_departs_from_the_paper(tmp_path: Path) -> None:
    common = ["--seeds", "1", "--results", str(tmp_path)]
    assert main(["page", "table2", "table4", "table9", *common]) == 0
    out = tmp_path / "reports" / "laptop"
    said = "freezes at a calibrated P ≥ {} instead of by argmax; it freezes no layer in the first "
    text = (out / "table2.md").read_text()
    assert "predictor reads upstream+progress instead of raw weights" in text.replace("\\", "")
    assert "has 256,066 parameters instead of 1,037,122" in text
    training = "one cycle of the learning rate, clipped gradients, standardised tokens"
    assert f"trained with adamw, {training} on glyphs:barred, glyphs:few, " in text
    assert "range of 4 values of unbiased CKA below 0.01" in text
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


OWN = """
title = "Mine"
{table}
[grid]
models = ["vgg11"]
datasets = ["cifar10"]
seeds = [0]
[[methods]]
name = "full"
[[methods]]
name = "random"
match = "{match}"
[[methods]]
name = "shortened"
match = "full"
"""


@pytest.mark.parametrize(
    ("name", "table", "match", "reason"),
    [
        ("claims", "", "full", "a built-in report has this name"),
        ("table2x", "", "full", "a built-in report has this name"),
        ("my sweep", "", "full", "rename the file"),
        ("mine", 'table = "tabel2"', "full", "did you mean 'table2'"),
        ("mine", "", "shortened", "cannot match 'shortened', which is itself matched"),
    ],
)
def test_invalid_names_tables_and_matches_of_a_users_sweep_are_errors(
    name: str, table: str, match: str, reason: str, tmp_path: Path
) -> None:
    file = tmp_path / f"{name}.toml"
    file.write_text(OWN.format(table=table, match=match))
    with pytest.raises(UserError, match=reason):
        load_sweep(str(file), "laptop")


def test_two_sweeps_of_one_name_are_an_error(tmp_path: Path) -> None:
    files = [tmp_path / place / "mine.toml" for place in ("a", "b")]
    for file in files:
        file.parent.mkdir()
        file.write_text(OWN.format(table="", match="full"))
    with pytest.raises(UserError, match="mine and mine both produce mine"):
        join_sweeps([load_sweep(str(file), "laptop") for file in files])


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
    assert "table1+table9, profile laptop: 11 runs, 0 of them shared between tables" in out
    assert "table1: 6 of 6 runs to do" in out
    assert main(["plan", *common]) == 0
    assert "+".join(TABLES) in capsys.readouterr().out
    assert main(["status", "table1", "table9", *common]) == 0
    assert "11 to do" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('same_as = "table4"\n', "same_as"),
        ('same_as = "window"\ntitle = "t"\n', "title"),
        ('same_as = "windows"\n', "windows"),
        ('title = "t"\nsetting = "scrach"\n' + METHODS, "scrach"),
    ],
)
def test_references_of_a_sweep_to_unknown_names_are_errors(
    text: str, words: str, tmp_path: Path
) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(text)
    with pytest.raises(UserError, match=words):
        load_sweep(str(file), "laptop")


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


def test_weights_for_an_unknown_role_are_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "own.safetensors"
    file.write_bytes(b"weights")
    assert main(["plan", "table2", "--seeds", "1", "--weights", f"resnet={file}"]) == 2
    assert "--weights: role 'resnet' is unknown" in capsys.readouterr().err


@pytest.mark.parametrize("seeds", ["[]", "[0, 0]"])
def test_an_axis_of_a_grid_without_values_or_with_duplicates_is_an_error(
    tmp_path: Path, seeds: str
) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(
        f'title = "T"\n[grid]\nmodels = ["resnet50"]\ndatasets = ["cifar10"]\nseeds = {seeds}\n'
        '[[methods]]\nname = "full"\n'
    )
    with pytest.raises(UserError, match=r"\[grid\]: seeds is .*at least one value"):
        load_sweep(str(file), "laptop")
