"""Tests of built-in strategies: parsing files finds each of them and its class attributes."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.errors import UserError
from bench.strategy_api import built_in
from bench.strategy_api.built_in import STATED, find_built_in
from bench.strategy_api.registry import find_strategies, load_strategy_class

NEW = '''
from strategies.base import Strategy

class Early(Strategy):
    """Freeze early."""
    name = "early"
    look = ("#123456", "x")
    is_control = True

class Helper:
    name_of_nothing = 1
'''


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Replace strategies/ by an empty folder and return its path."""
    monkeypatch.setattr(built_in, "PROJECT", tmp_path)
    monkeypatch.setattr(built_in, "FOLDER", tmp_path / "strategies")
    (tmp_path / "strategies" / "kind").mkdir(parents=True)
    find_built_in.cache_clear()
    yield tmp_path / "strategies"
    find_built_in.cache_clear()


@pytest.mark.parametrize("name", find_built_in())
def test_parsed_facts_equal_the_class_attributes(name: str) -> None:
    facts, cls = find_built_in()[name], load_strategy_class(name)
    assert facts.name == cls.name
    assert facts.place == f"{cls.__module__}:{cls.__name__}"
    assert facts.summary == cls.__doc__.strip().splitlines()[0]
    assert {key: getattr(facts, key) for key in STATED} == {
        key: getattr(cls, key) for key in STATED
    }


def test_a_new_file_adds_a_strategy(folder: Path) -> None:
    (folder / "kind" / "early.py").write_text(NEW)
    facts = find_built_in()["early"]
    assert facts.place == "strategies.kind.early:Early"
    assert (facts.summary, facts.look, facts.is_control) == (
        "Freeze early.",
        ("#123456", "x"),
        True,
    )
    assert list(find_built_in()) == ["early"]


def test_two_strategies_with_the_same_name_are_rejected(folder: Path) -> None:
    for file in ("one.py", "kind/two.py"):
        (folder / file).write_text(NEW)
    with pytest.raises(UserError, match=r"kind\.two:Early and .*one:Early .* rename one"):
        find_built_in()


@pytest.mark.parametrize(
    ("line", "replaced"),
    [('name = "early"', "name = 'early'"), ('name = "early"', 'name: ClassVar[str] = "early"'),
     ("is_control = True", "is_control: bool = True")],
)  # fmt: skip
def test_facts_are_parsed_with_other_quotes_and_annotations(
    line: str, replaced: str, folder: Path
) -> None:
    (folder / "early.py").write_text(NEW.replace(line, replaced))
    assert find_built_in()["early"].is_control


@pytest.mark.parametrize(
    ("line", "replaced", "message"),
    [
        ("is_control = True", "is_control = CONTROL", "line 8: is_control is not a literal"),
        ("class Early", "clas Early", "line 4: invalid syntax"),
    ],
)
def test_an_invalid_strategy_file_gives_a_one_line_error(
    line: str, replaced: str, message: str, folder: Path
) -> None:
    (folder / "early.py").write_text(NEW.replace(line, replaced))
    with pytest.raises(UserError, match=f"early.py, {message}") as caught:
        find_built_in()
    assert "\n" not in str(caught.value)


def test_every_strategy_is_registered() -> None:
    assert set(find_built_in()) <= set(find_strategies())
