"""Tests of sweep files and profile files: errors in them are one line."""

from pathlib import Path

import pytest

from bench.errors import UserError
from bench.planning.sweep import join_sweeps, load_sweep
from bench.planning.sweep_files import PROFILES


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
        ("title = 't'\ngrid = []\n" + FULL, r"grid is \[\]; it must be a table, headed \[grid\]"),
        ("title = 't'\nmethods = []\n" + GRID, r"methods is \[\]; it must be tables, each headed"),
        ("title = 't'\ngrid = 1\n" + FULL, r"grid is 1; it must be a table, headed \[grid\]"),
        (
            "title = 't'\n" + GRID + FULL + "options = 'x'",
            "full: options is 'x'; it must be a table",
        ),
        ("title = 't'\n" + GRID + FULL + "scale = {lr = '2'}", "must be a table of numbers"),
        (
            "title = 't'\n" + GRID + FULL + "scale = {lr = 2.0}\n[models.vgg11]\nlr = 'fast'",
            "method full: lr = 'fast' is not valid",
        ),
        ("title = 't'\nmodels = ['a']\n" + GRID + FULL, r"must be tables, as \[models\.NAME\]"),
    ],
)
def test_a_value_of_the_wrong_type_in_a_sweep_is_a_one_line_error(
    text: str, words: str, tmp_path: Path
) -> None:
    test_an_invalid_sweep_file_is_a_one_line_error(text, words, tmp_path)


def test_a_value_of_the_wrong_type_in_a_profile_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    start = "run = {}\nmodels = {}\ndatasets = {}\n"
    for text, words in (
        ("run = 1\nmodels = {}\ndatasets = {}", "run is 1"),
        ("", "run is missing"),
        (start + "name = 5", "key 'name' is unknown"),
        (start + "[settings.a]\nrun = 3", "setting a: run is 3; it must be a table"),
        (start + "[settings.a.models]\nx = 4", r"models is .*tables, as \[models.NAME\]"),
        (start + "[settings]\na = 4", r"settings is .*tables, as \[settings.NAME.run\]"),
        (start + "[predictor]\nsweep = 'predictor'", r"\[predictor\]: sources is missing"),
        (start + "predictor = 1", "predictor is 1; it must be a table"),
    ):
        file.write_text(text)
        with pytest.raises(UserError, match=words):
            load_sweep("table2", str(file))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"\xef\xbb\xbftitle = 3\n", "title is 3"),  # with the byte order mark of some editors
        (b"title = 't'\r\nmodel = 3\r\n", "key 'model' is unknown"),
        ("title = 'Größe'".encode("latin-1"), "is not in UTF-8 .*save it in UTF-8"),
        ("title = 't'".encode("utf-16"), "is not in UTF-8"),
    ],
)
def test_the_encoding_of_a_file_is_utf_8_with_or_without_a_mark(
    text: bytes, words: str, tmp_path: Path
) -> None:
    file = tmp_path / "mine.toml"
    file.write_bytes(text)
    with pytest.raises(UserError, match=words) as caught:
        load_sweep(str(file), "laptop")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("[run]", "[pairs.'resnet50/cifar1O']\nlr = 1\n[run]"), "dataset 'cifar1O' is unknown"),
        (("[run]", "[pairs.resnet50]\nlr = 1\n[run]"), "dataset '' is unknown"),
        (('backbone = "laptop_resnet"', "backbone = 3"), "backbone is 3 for resnet50 on cifar10"),
        (('backbone = "laptop_resnet"', 'backbone = {data = "digits10"}'), "would train on dig"),
        (('model = "laptop_resnet"', ""), "model"),
        (("[run]", "[run]\nstrategy = 'linear'"), "run: strategy must not be set here"),
        (("[run]", "[pairs.'vgg11/cifar10']\nseed = 1\n[run]"), "write `seeds = "),
        (("[run]", "[settings.mine.run]\ncontents = 'x'\n[run]"), "setting mine, run: contents"),
        (
            ("[run]", "[run]\ndata = 'digits10'"),
            r"run: data must not .*write it in \[datasets.ROLE\]",
        ),
        (("[run]", "[pair.'vgg11/cifar10']\nlr = 1\n[run]"), "key 'pair' is unknown"),
        (("[run]", "[seting.scratch.run]\nlr = 1\n[run]"), "key 'seting' is unknown"),
        (("[run]", "[settings.mine.model.vgg11]\nlr = 1\n[run]"), "mine: key 'model' is unknown"),
        (("[run]", "[settings.mine.models.vgg1]\nlr = 1\n[run]"), "mine: model 'vgg1' is unknown"),
    ],
)
def test_faulty_roles_of_a_profile_are_one_line_errors(
    change: tuple[str, str], words: str, tmp_path: Path
) -> None:
    text = (PROFILES / "laptop.toml").read_text()
    assert change[0] in text
    file = tmp_path / "mine.toml"
    file.write_text(text.replace(*change, 1))
    with pytest.raises(UserError, match=words) as caught:
        load_sweep("table2", str(file))
    assert "\n" not in str(caught.value)


METHODS = '[grid]\nmodels=["vgg11"]\ndatasets=["cifar10"]\nseeds=[0]\n[[methods]]\nname="full"\n'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('title = "t"\n' + METHODS + '[[methods]]\nname="full"\n', "two methods"),
        ('title = "t"\n' + METHODS + "option = {t0 = 0.3}\n", "option"),
        (METHODS, "title is missing"),
        ('title = "t"\n' + METHODS + "set = {options = {t0 = 0.9}}", "full, set: options must not"),
        (
            'title = "t"\nset = {epoch = 3}\n' + METHODS,
            "^full for vgg11 on cifar10: key 'epoch' is",
        ),
        (
            'title = "t"\nset = {data = "digits10"}\n' + METHODS,
            r"set: data must not .*datasets.ROLE",
        ),
        (
            'title = "t"\n' + METHODS + "set = {model = 'x'}",
            r"full, set: model must not .*models.ROLE",
        ),
        ('title = "t"\n' + METHODS + "[models.vgg11]\ndata = 'x'", r"models.vgg11: data must not"),
        ('title = "t"\nset = {seed = 7}\n' + METHODS, r"set: seed must not be .*write `seeds = "),
        (
            'title = "t"\n' + METHODS + "[models.vgg11]\nmatch = 'x'",
            r"models.vgg11: match must not",
        ),
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
        ("mine", "", "shortened", "cannot match 'shortened', because that method has"),
    ],
)
def test_invalid_names_tables_and_matches_of_a_users_sweep_are_errors(
    name: str, table: str, match: str, reason: str, tmp_path: Path
) -> None:
    file = tmp_path / f"{name}.toml"
    file.write_text(OWN.format(table=table, match=match))
    with pytest.raises(UserError, match=reason):
        load_sweep(str(file), "laptop")


@pytest.mark.parametrize(
    "text", [OWN.format(table='table = "table2"', match="full"), 'same_as = "window"\n']
)
@pytest.mark.parametrize("name", ["a,b", "a|b", "a b"])
def test_a_sweep_whose_name_slurm_cannot_list_is_an_error(
    name: str, text: str, tmp_path: Path
) -> None:
    """Refuse the file name, which is in the names of jobs, whatever the name of the report."""
    file = tmp_path / f"{name}.toml"
    file.write_text(text)
    with pytest.raises(UserError, match="using only letters, digits, dots, dashes"):
        load_sweep(str(file), "laptop")
    alias = tmp_path / "alias.toml"
    alias.write_text(f'same_as = "{file}"\n')
    with pytest.raises(UserError, match="using only letters, digits, dots, dashes"):
        load_sweep(str(alias), "laptop")


def test_two_sweeps_of_one_name_are_an_error(tmp_path: Path) -> None:
    files = [tmp_path / place / "mine.toml" for place in ("a", "b")]
    for file in files:
        file.parent.mkdir()
        file.write_text(OWN.format(table="", match="full"))
    with pytest.raises(UserError, match="mine and mine both produce mine"):
        join_sweeps([load_sweep(str(file), "laptop") for file in files])


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


def test_options_of_the_command_override_the_fields_of_a_sweep(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(
        'set = {epochs = 2, evaluate_on = "validation"}\n' + OWN.format(table="", match="full")
    )
    declared, asked = (load_sweep(str(file), "laptop", changes=c) for c in ({}, {"epochs": 3}))
    assert {entry.spec.epochs for entry in declared.entries} == {2}
    assert {entry.spec.epochs for entry in asked.entries} == {3}
    assert asked.changes == {"epochs": 3, "evaluate_on": "validation"}  # the report names them
    joined = join_sweeps([asked, load_sweep("table9", "laptop", changes={"epochs": 3})])
    assert joined.changes == {"epochs": 3}


def test_two_grids_with_one_method_on_one_pair_are_an_error(tmp_path: Path) -> None:
    grid = '[[grid]]\nmodels = ["vgg11"]\ndatasets = ["cifar10"]\nseeds = [{}]\n'
    methods = '[[methods]]\nname = "full"\n'
    file = tmp_path / "mine.toml"
    file.write_text('title = "t"\n' + grid.format(0) + grid.format(1) + methods)
    with pytest.raises(UserError, match="two \\[grid\\] tables contain full for vgg11 on cifar10"):
        load_sweep(str(file), "laptop")


@pytest.mark.parametrize("name", ["a\\nb", "a\\tb", " ", ""])
def test_a_name_of_a_method_is_one_line(name: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(OWN.format(table="", match="full").replace('"random"', f'"{name}"'))
    with pytest.raises(UserError, match="it must be a text of one line, not blank"):
        load_sweep(str(file), "laptop")


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
