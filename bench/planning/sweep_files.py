"""Sweep files and profile files: lookup by name, reading as TOML, and validation."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from bench.errors import UserError
from bench.files import PROJECT, read_toml
from bench.options import make_unknown_error
from bench.planning.sweep_models import (
    Alias,
    Grid,
    Method,
    PredictorSource,
    ProfileFile,
    Setting,
    SweepFile,
    TomlTable,
)

SWEEPS = PROJECT / "sweeps"
PROFILES = SWEEPS / "profiles"
LEADERBOARD = "leaderboard"  # sweep with a report of its own, which is no table of the paper
ROLES = ("models", "datasets", "pairs")  # tables of a profile; the name of a pair is MODEL/DATASET
SCALED = ("lr", "weight_decay")  # fields that a method may scale; each model has its own values
# Fields of a run that `set` and profiles cannot change, and what to do instead.
PLACED = {
    "strategy": "write `strategy = …` in the method",
    "options": "write `options = {…}` in the method",
    "match": "write `match = …` in the method",
    "seed": "write `seeds = […]` in [grid]",
    **dict.fromkeys(("reference", "contents", "paths", "keep_model"), "remove it: it is computed"),
}
# The field that defines a role. It has a place only in the tables of its kind.
DEFINING = {"models": "model", "datasets": "data"}

Declared = TypeVar("Declared", bound=TomlTable)


def list_sweeps() -> list[str]:
    """Return the names of the built-in sweeps."""
    return _list_names(SWEEPS)


def list_tables() -> list[str]:
    """Return the names of the sweeps for the paper's tables in order, then for Figures 3 to 5."""
    tables = [name for name in list_sweeps() if re.fullmatch(r"table\d", name)]
    return [*tables, "curves", "figure5"]


def list_profiles() -> list[str]:
    """Return the names of the built-in profiles."""
    return _list_names(PROFILES)


def load_profile(name: str) -> dict[str, Any]:
    """Load a profile by name or path. Raises UserError if it is missing or invalid."""
    profile = _read_toml(PROFILES, name, "profile")
    declared = _validate(ProfileFile, profile, f"profile {name}")
    _check_places(declared.model_dump(), f"profile {name}")
    for key, setting in declared.settings.items():
        _check_setting(setting, profile, f"profile {name}, setting {key}")
    return {**profile, "name": Path(name).stem}


def load_sweep_file(name: str) -> tuple[str, SweepFile]:
    """Return the name and validated contents of a sweep file, or of the target of an alias.

    Raises UserError for a missing file, an invalid value, and two methods with the same name.
    """
    declared = _read_sweep(name)
    if "same_as" in declared:
        name = _validate(Alias, declared, f"sweep {name}").same_as
        declared = _read_sweep(name)
    sweep = _validate(SweepFile, declared, f"sweep {name}")
    _check_references(sweep, f"sweep {name}")
    if not sweep.table and name.endswith(".toml"):
        _check_own_name(Path(name))
    return Path(name).stem, sweep


def apply_setting(profile: Mapping[str, Any], setting: str) -> dict[str, Any]:
    """Return the profile with the values of one of its settings merged in, role by role.

    Raises UserError for an unknown setting.
    """
    settings = profile.get("settings", {})
    if setting and setting not in settings:
        raise make_unknown_error(f"profile {profile['name']}: setting", setting, settings)
    own = settings.get(setting, {})
    laid: dict[str, Any] = {**profile, "run": {**profile["run"], **own.get("run", {})}}
    for kind in ROLES:
        old, new = profile.get(kind, {}), own.get(kind, {})
        laid[kind] = old | {role: {**old.get(role, {}), **new[role]} for role in new}
    return laid


def check_pairs(profile: Mapping[str, Any]) -> None:
    """Raise UserError for a pair of unknown roles, because its values would apply to no run."""
    for pair in profile["pairs"]:
        model, _, dataset = pair.partition("/")
        for kind, role in (("models", model), ("datasets", dataset)):
            if role not in profile[kind]:
                where = f"profile {profile['name']}, pairs.{pair!r}: {kind[:-1]}"
                raise make_unknown_error(where, role, profile[kind])


def _check_setting(setting: Setting, profile: Mapping[str, Any], where: str) -> None:
    """Raise UserError for a misplaced field, and for a role that the profile does not have.

    A setting may define a role of its own.
    """
    tables = setting.model_dump()
    _check_places(tables, where)
    for kind, defining in DEFINING.items():
        for role, values in tables[kind].items():
            if role not in profile[kind] and defining not in values:
                raise make_unknown_error(f"{where}: {kind[:-1]}", role, profile[kind])


def _check_places(tables: Mapping[str, Any], where: str) -> None:
    """Raise UserError if a table of run fields has a field that has no place there.

    These are the fields of PLACED, and `model` and `data` outside the tables of roles: a row would
    then have another model or data set than its roles say.
    tables: tables of a sweep or a profile, by key.
    """
    found = {("", key): tables[key] for key in ("run", "set") if key in tables}
    for kind in ROLES:
        found |= {(kind, role): values for role, values in tables.get(kind, {}).items()}
    for (kind, name), values in found.items():
        placed = dict(PLACED)
        for other, field in DEFINING.items():
            if other != kind:
                placed[field] = f"write it in [{other}.ROLE], and name the role in [grid]"
        if wrong := next((field for field in values if field in placed), ""):
            key = f"{kind}.{name}".removeprefix(".")
            raise UserError(f"{where}, {key}: {wrong} must not be set here; {placed[wrong]}")


def _check_references(sweep: SweepFile, where: str) -> None:
    """Raise UserError for references to unknown names, and for duplicate names and values."""
    known = [*list_tables(), LEADERBOARD]
    if sweep.table and sweep.table not in known:
        raise make_unknown_error(f"{where}: table", sweep.table, known)
    _check_places(sweep.model_dump(), where)
    names = [method.name for method in sweep.all_methods]
    for method in sweep.all_methods:
        _check_places(method.model_dump(), f"{where}, method {method.name}")
        for key in method.scale:
            if key not in SCALED:
                raise make_unknown_error(f"{where}, method {method.name}: scale", key, list(SCALED))
        if names.count(method.name) > 1:
            raise UserError(f"{where}: two methods have the name {method.name!r}; rename one")
        if method.match and method.match not in names:
            raise make_unknown_error(f"{where}, method {method.name}: match", method.match, names)
    cells: set[tuple[str, str, str]] = set()
    for grid in sweep.grid:
        for axis in ("models", "datasets", "seeds"):
            values: Sequence[object] = getattr(grid, axis)
            if not values or len(set(values)) < len(values):
                raise UserError(
                    f"{where}, [grid]: {axis} is {_shorten(values)}; "
                    "give at least one value and no duplicates"
                )
        here = names if grid.methods is None else grid.methods
        for name in here:
            if name not in names:
                raise make_unknown_error(f"{where}, [grid]: method", name, names)
        again = cells & (own := set(product(grid.models, grid.datasets, here)))
        for model, dataset, name in sorted(again):
            raise UserError(
                f"{where}: two [grid] tables contain {name} for {model} on {dataset}; write all "
                "seeds into one of them"
            )
        cells |= own
        for method in sweep.all_methods:
            if method.name in here and method.match and method.match not in here:
                raise UserError(
                    f"{where}, [grid]: {method.name} matches {method.match!r}, which this grid "
                    "leaves out; add it to the methods of the grid"
                )


def _check_own_name(path: Path) -> None:
    """Raise UserError if a sweep file has the name of a built-in report."""
    if re.fullmatch(rf"(table|figure)\d.*|curves|claims|index|made|{LEADERBOARD}.*", path.stem):
        raise UserError(
            f"sweep {path}: a built-in report has this name; rename the file, or set `table` in it "
            "to the table that shows the runs"
        )


def _validate(kind: type[Declared], values: Mapping[str, Any], where: str) -> Declared:
    """Return the values as a `kind`. Raises UserError with the key, its value and a valid type."""
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        faults = error.errors(include_url=False)
    # Report an unknown key first: it may be a misspelling of the missing one.
    fault = next((f for f in faults if f["type"] == "extra_forbidden"), faults[0])
    model: type[BaseModel] = kind
    given: Any = values
    path: list[Any] = list(fault["loc"])
    if path[0] in ("methods", "controls") and len(path) > 2:
        model, given = Method, given[path[0]][path[1]]
        where, path = f"{where}, method {given.get('name', '?')}", path[2:]
    elif path[0] == "grid" and len(path) > 2:
        grids = given["grid"]
        model, given = Grid, grids[path[1]] if isinstance(grids, list) else grids
        where, path = f"{where}, [grid]", path[2:]
    elif path[0] == "settings" and len(path) > 2:
        model, given = Setting, given["settings"][path[1]]
        where, path = f"{where}, setting {path[1]}", path[2:]
    elif path[0] == "predictor" and len(path) > 1:
        model, given = PredictorSource, given["predictor"]
        where, path = f"{where}, [predictor]", path[1:]
    key = str(path[0])
    if fault["type"] == "missing":
        raise UserError(f"{where}: {key} is missing; add it")
    if key not in model.model_fields:
        raise make_unknown_error(f"{where}: key", key, list(model.model_fields))
    wanted = (model.model_fields[key].description or "").format(key=key)
    raise UserError(f"{where}: {key} is {_shorten(given[key])}; it must be {wanted}")


def _shorten(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _list_names(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.glob("*.toml"))


def _read_toml(folder: Path, name: str, what: str) -> dict[str, Any]:
    """Read a TOML file, given by path or by its name in the folder."""
    path = Path(name)
    if path.suffix != ".toml":
        if name not in _list_names(folder):
            raise make_unknown_error(what, name, _list_names(folder))
        path = folder / f"{name}.toml"
    return read_toml(path, f"{what} {name}")


def _read_sweep(name: str) -> dict[str, Any]:
    """Read a sweep. Raise UserError if the name of its file has unusual characters.

    Slurm jobs get the name of this file. Commas separate job names in a call of squeue, and the
    output of squeue is split at "|".
    """
    if name.endswith(".toml") and not re.fullmatch(r"[\w.-]+", Path(name).stem):
        raise UserError(
            f"sweep {name}: its reports and Slurm jobs get the name of this file; rename the file, "
            "using only letters, digits, dots, dashes and underscores"
        )
    return _read_toml(SWEEPS, name, "sweep")
