"""Sweeps and profiles as they are written down: found by name, read, and checked."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from bench.errors import UserError
from bench.files import PROJECT
from bench.options import unknown

SWEEPS = PROJECT / "sweeps"
PROFILES = SWEEPS / "profiles"
ROLES = ("models", "datasets", "pairs")  # of a profile; a pair is model/dataset
SCALED = ("lr", "weight_decay")  # fields a method may multiply, since each model has its own

# What stands where, in the words of the message for what does not.
TEXT, TEXTS, WHOLE = "a text", "a list of texts", "a list of whole numbers from 0 on"
TABLE, TABLES, NAMED = "a table", "tables, each begun by [[{key}]]", "tables, as [{key}.NAME]"
NUMBERS = "a table of numbers"
CHECKS: dict[str, Callable[[Any], bool]] = {
    TEXT: lambda v: isinstance(v, str),
    TEXTS: lambda v: isinstance(v, list) and all(isinstance(x, str) for x in v),
    WHOLE: lambda v: isinstance(v, list) and all(type(x) is int and x >= 0 for x in v),
    TABLE: lambda v: isinstance(v, dict),
    TABLES: lambda v: isinstance(v, list) and all(isinstance(x, dict) for x in v),
    NAMED: lambda v: isinstance(v, dict) and all(isinstance(x, dict) for x in v.values()),
    NUMBERS: lambda v: isinstance(v, dict) and all(type(x) in (int, float) for x in v.values()),
}
OF_A_SWEEP = {
    "title": TEXT, "table": TEXT, "setting": TEXT, "same_as": TEXT,
    "methods": TABLES, "controls": TABLES, "models": NAMED, "datasets": NAMED,
}  # fmt: skip
OF_A_GRID = {"models": TEXTS, "datasets": TEXTS, "methods": TEXTS, "seeds": WHOLE}
OF_A_METHOD = {
    "name": TEXT, "strategy": TEXT, "match": TEXT, "options": TABLE, "set": TABLE, "scale": NUMBERS,
}  # fmt: skip
OF_A_PROFILE = {"run": TABLE, **dict.fromkeys((*ROLES, "settings"), NAMED)}


def sweep_names() -> list[str]:
    """The sweeps that come with the program."""
    return _names(SWEEPS)


def all_tables() -> list[str]:
    """The sweeps behind the paper's tables, in their order, and its Figures 3 to 5."""
    tables = [name for name in sweep_names() if re.fullmatch(r"table\d", name)]
    return [*tables, "curves", "figure5"]


def profile_names() -> list[str]:
    """The profiles that come with the program."""
    return _names(PROFILES)


def load_profile(name: str) -> dict[str, Any]:
    """A profile by name or by path; raises UserError if there is none."""
    profile = _read(PROFILES, name, "profile")
    _check_keys(profile, profile, ("run", "models", "datasets"), f"profile {name}")
    _check_kinds(profile, OF_A_PROFILE, f"profile {name}")
    return {"name": Path(name).stem, **profile}


def declared_sweep(name: str) -> dict[str, Any]:
    """A sweep as it is written down, and checked; or the one that it says it is the same as."""
    declared = _read(SWEEPS, name, "sweep")
    if "same_as" in declared:
        _check_keys(declared, ("same_as",), ("same_as",), f"sweep {name}")
        _check_kinds(declared, OF_A_SWEEP, f"sweep {name}")
        name = declared["same_as"]
        declared = _read(SWEEPS, name, "sweep")
    _check_declared(declared, f"sweep {name}")
    if "table" not in declared and name.endswith(".toml"):
        _check_own_name(Path(name))
    return declared | {"name": Path(name).stem}


def in_setting(profile: Mapping[str, Any], setting: str) -> dict[str, Any]:
    """A profile with the values of one of its settings laid over its own, role by role."""
    settings = profile.get("settings", {})
    if setting and setting not in settings:
        raise unknown(f"profile {profile['name']}: setting", setting, settings)
    own = settings.get(setting, {})
    _check_keys(own, ("run", *ROLES), (), f"profile {profile['name']}, setting {setting}")
    laid: dict[str, Any] = {**profile, "run": {**profile["run"], **own.get("run", {})}}
    for kind in ROLES:
        old, new = profile.get(kind, {}), own.get(kind, {})
        laid[kind] = old | {role: {**old.get(role, {}), **new[role]} for role in new}
    return laid


def _check_declared(declared: Mapping[str, Any], where: str) -> None:
    """Refuse a sweep with missing or unknown keys, and methods that cannot be told apart."""
    needed = ("title", "grid", "methods")
    known = (*needed, "table", "setting", "controls", "models", "datasets")
    _check_keys(declared, known, needed, where)
    _check_kinds(declared, OF_A_SWEEP, where)
    if declared.get("table", "table1") not in all_tables():
        raise unknown(f"{where}: table", declared["table"], all_tables())
    methods = [*declared["methods"], *declared.get("controls", [])]
    for method in methods:
        keys = ("name", "strategy", "options", "match", "set", "scale")
        called = f"{where}, method {method.get('name', '?')}"
        _check_keys(method, keys, ("name",), called)
        _check_kinds(method, OF_A_METHOD, called)
        for key in method.get("scale", {}):
            if key not in SCALED:
                raise unknown(f"{where}, method {method['name']}: scale", key, list(SCALED))
    names = [method["name"] for method in methods]
    for grid in grids(declared):
        axes = ("models", "datasets", "seeds")
        if not isinstance(grid, Mapping):
            raise UserError(f"{where}: grid is {grid!r}; it must be a table, begun by [grid]")
        _check_keys(grid, (*axes, "methods"), axes, f"{where}, [grid]")
        _check_kinds(grid, OF_A_GRID, f"{where}, [grid]")
        for axis in axes:
            if not grid[axis] or len(set(grid[axis])) < len(grid[axis]):
                raise UserError(
                    f"{where}, [grid]: {axis} is {_short(grid[axis])}; give one or more, each once"
                )
        for name in grid.get("methods", []):
            if name not in names:
                raise unknown(f"{where}, [grid]: methods", name, names)
        here = grid.get("methods", names)
        for method in methods:
            if method["name"] in here and method.get("match", here[0]) not in here:
                raise unknown(f"{where}, [grid]: methods to match", method["match"], here)
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"{where}: two methods are called {name!r}; give each its own name")
    for method in methods:
        if method.get("match", names[0]) not in names:
            raise unknown(f"{where}, method {method['name']}: match", method["match"], names)


def _check_own_name(path: Path) -> None:
    """Refuse a name that a report of ours has, or after which no report can be named."""
    if re.fullmatch(r"(table|figure)\d.*|curves|claims|index|made", path.stem):
        raise UserError(
            f"sweep {path}: a report of that name comes with the program; rename the file, or say "
            "in it which table it makes (table = ...)"
        )
    if not re.fullmatch(r"[\w.-]+", path.stem):
        raise UserError(
            f"sweep {path}: its report is named after it; rename the file with letters, digits, "
            "dots, dashes and underscores alone"
        )


def grids(declared: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """A sweep's grids: one, or several as [[grid]]."""
    grids = declared["grid"]
    return grids if isinstance(grids, list) else [grids]


def _check_keys(
    given: Mapping[str, Any], known: Iterable[str], needed: Iterable[str], where: str
) -> None:
    for key in given:
        if key not in known:
            raise unknown(f"{where}: key", key, list(known))
    for key in needed:
        if key not in given:
            raise UserError(f"{where}: {key} is missing; add it")


def _check_kinds(given: Mapping[str, Any], kinds: Mapping[str, str], where: str) -> None:
    """Refuse a value of another kind than stands there, and say which."""
    for key, kind in kinds.items():
        if key in given and not CHECKS[kind](given[key]):
            wanted = kind.format(key=key)
            raise UserError(f"{where}: {key} is {_short(given[key])}; it must be {wanted}")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _names(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.glob("*.toml"))


def _read(folder: Path, name: str, what: str) -> dict[str, Any]:
    """A TOML file by path, or by name from a folder."""
    path = Path(name)
    if path.suffix != ".toml":
        if name not in _names(folder):
            raise unknown(what, name, _names(folder))
        path = folder / f"{name}.toml"
    try:
        return tomllib.loads(path.read_text())
    except OSError as error:
        raise UserError(f"{what} {name}: {error.strerror}") from None
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{what} {name} is not valid TOML: {error}") from None
