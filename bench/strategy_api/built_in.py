"""Built-in strategies, found by parsing the source files in strategies/ without importing them."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from bench.errors import UserError
from bench.files import PROJECT

FOLDER = PROJECT / "strategies"
NAMED = re.compile(r"^\s+name\b.*=", re.MULTILINE)


@dataclass(frozen=True)
class StrategyFacts:
    """Facts about a strategy, read from its source file.

    place: "module:Class".
    summary: first line of the class docstring. The other fields are class attributes that the
    strategy declares as literals (see bench.strategy_api.strategy).
    """

    name: str
    place: str
    summary: str
    look: tuple[str, str] | None = None
    made_for: tuple[str, ...] = ()
    is_control: bool = False
    freezes: bool = True
    costs_full_training: bool = False


STATED = ("look", "made_for", "is_control", "freezes", "costs_full_training")


@cache
def find_built_in() -> dict[str, StrategyFacts]:
    """Return the facts of every built-in strategy by name, in alphabetical order.

    Raises UserError if two strategies have the same name.
    """
    found: dict[str, StrategyFacts] = {}
    for path in sorted(FOLDER.rglob("*.py")):
        for facts in _read_facts(path):
            if facts.name in found:
                raise UserError(
                    f"strategies {found[facts.name].place} and {facts.place} are both named "
                    f"{facts.name!r}; rename one of them"
                )
            found[facts.name] = facts
    return dict(sorted(found.items()))


def _read_facts(path: Path) -> list[StrategyFacts]:
    """Return the facts of a file's strategies, which are the top-level classes with a `name`.

    Raises UserError for a syntax error, and for a fact that is not a literal.
    """
    text = path.read_text()
    if not NAMED.search(text):
        return []
    try:
        classes = [node for node in ast.parse(text).body if isinstance(node, ast.ClassDef)]
    except SyntaxError as error:
        raise UserError(f"strategy file {path}, line {error.lineno}: {error.msg}") from None
    module = ".".join(path.relative_to(PROJECT).with_suffix("").parts)
    found = []
    for node in classes:
        stated = _read_literals(node, path)
        if name := stated.pop("name", ""):
            summary = (ast.get_docstring(node) or "").partition("\n")[0]
            found.append(StrategyFacts(name, f"{module}:{node.name}", summary, **stated))
    return found


def _read_literals(node: ast.ClassDef, path: Path) -> dict[str, Any]:
    """Return the facts that a class declares as `fact = literal` or `fact: type = literal`."""
    found = {}
    for statement in node.body:
        if not isinstance(statement, ast.Assign | ast.AnnAssign):
            continue
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        for target in targets:
            if isinstance(target, ast.Name) and target.id in ("name", *STATED) and statement.value:
                try:
                    found[target.id] = ast.literal_eval(statement.value)
                except ValueError:
                    raise UserError(
                        f"strategy file {path}, line {statement.lineno}: {target.id} is not a "
                        "literal; write its value instead of an expression"
                    ) from None
    return found
