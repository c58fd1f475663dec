"""Sweeps: from roles and profiles to runs."""

from pathlib import Path

import pytest

from bench.cli import main
from bench.errors import UserError
from bench.plan import make_plan
from bench.results import RunFolder
from bench.sweep import load_profile, load_sweep, profile_names


def test_table_2_has_every_cell_and_controls_only_add(tmp_path: Path) -> None:
    plain, wide = load_sweep("table2", "laptop"), load_sweep("table2", "laptop", controls=True)
    assert len(plain.entries) == 4 * 2 * 4 * 5
    assert len(wide.entries) == 4 * 2 * 7 * 5
    assert len({e.spec.id for e in wide.entries}) == len(wide.entries)
    ids = {e.spec.id for e in wide.entries}
    assert {e.spec.id for e in plain.entries} < ids
    assert len(plain.artifacts) == 4  # one backbone a model, shared by all
    assert all(a.keep_model for a in plain.artifacts)
    assert make_plan(wide.specs, tmp_path).todo[:4] == list(plain.artifacts)


def test_matched_runs_name_all_seeds_of_the_cell_they_are_matched_to() -> None:
    sweep = load_sweep("table2", "laptop", controls=True)
    cells: dict[tuple[str, ...], set[str]] = {}
    for entry in sweep.entries:
        cells.setdefault(tuple(entry.roles.values()), set()).add(entry.spec.id)
    for entry in sweep.entries:
        model, dataset, method = entry.roles.values()
        matched = method in ("linear", "random", "shortened")
        expected = cells[model, dataset, "smartfrz"] if matched else set()
        assert set(entry.spec.match) == expected


def test_strategies_differ_in_nothing_but_the_strategy() -> None:
    sweep = load_sweep("table2", "laptop")
    shared = ("model", "data", "epochs", "lr", "weights", "weight_decay", "resolution", "augment")
    groups: dict[tuple[str, str], set[tuple[object, ...]]] = {}
    for entry in sweep.entries:
        key = entry.roles["model"], entry.roles["dataset"]
        groups.setdefault(key, set()).add(tuple(getattr(entry.spec, f) for f in shared))
    assert all(len(settings) == 1 for settings in groups.values())


@pytest.mark.parametrize("profile", profile_names())
def test_profiles_can_be_planned_without_any_file(profile: str) -> None:
    assert load_profile(profile)["description"]
    assert len(load_sweep("table2", profile, seeds=1).entries) == 32


def test_deleting_a_run_makes_it_missing_again(tmp_path: Path) -> None:
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
def test_a_bad_sweep_file_is_one_line(text: str, words: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(text)
    with pytest.raises(UserError, match=words) as caught:
        load_sweep(str(file), "laptop")
    assert "\n" not in str(caught.value)


def test_plan_and_status_say_what_is_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["table2", "--seeds", "1", "--results", str(tmp_path)]
    assert main(["plan", *common]) == 0
    out = capsys.readouterr().out
    assert "36 runs, 0 done, 36 to do" in out
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
def test_a_mistyped_sweep_never_runs_something_else(text: str, words: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(text)
    with pytest.raises(UserError, match=words):
        load_sweep(str(file), "laptop")


def test_a_model_may_start_from_a_local_file(tmp_path: Path) -> None:
    file = tmp_path / "vgg.safetensors"
    file.write_bytes(b"weights")
    sweep = load_sweep("table2", "paper", seeds=1, files={"weights:vgg11": str(file)})
    for entry in sweep.entries:
        local = entry.roles["model"] == "vgg11"
        assert entry.spec.weights == ("file" if local else "pretrained")
        assert ("weights" in entry.spec.paths) == local
