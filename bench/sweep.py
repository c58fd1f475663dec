"""From a declared grid and a profile to the list of runs, with the runs those need.

A sweep (sweeps/NAME.toml) speaks in roles: the paper's names of models and data sets. A profile
(sweeps/profiles/NAME.toml) says what stands for each role and how it is trained, and how
otherwise in a setting that a sweep may name (from scratch).
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.contents import resolve
from bench.errors import UserError
from bench.options import unknown
from bench.registry import strategy_class
from bench.spec import FIELDS, Spec

SWEEPS = Path(__file__).resolve().parent.parent / "sweeps"
PROFILES = SWEEPS / "profiles"
REFERENCE_SEED = 1000  # far from the seeds of a cell, whose models a reference must not be
BACKBONE_SEED = 0
ROLES = ("models", "datasets", "pairs")  # of a profile; a pair is model/dataset
SCALED = ("lr", "weight_decay")  # fields a method may multiply, since each model has its own
PLACE = ("device", "precision", "resolution", "threads")  # what a backbone shares with its runs


@dataclass(frozen=True)
class Entry:
    """A run of a table's grid with its roles: model, dataset, method."""

    spec: Spec
    roles: Mapping[str, str]


@dataclass(frozen=True)
class Sweep:
    """A grid of runs.

    table: which table reports it. entries: the runs a report shows. artifacts: what they need
    besides each other.
    """

    name: str
    table: str
    title: str
    profile: Mapping[str, Any]
    entries: tuple[Entry, ...]
    artifacts: tuple[Spec, ...]

    @property
    def specs(self) -> list[Spec]:
        """All runs, each once, artifacts first."""
        unique = {s.id: s for s in [*self.artifacts, *(e.spec for e in self.entries)]}
        for spec in self.artifacts:  # keep_model is not in the id, and an artifact's must be kept
            unique[spec.id] = spec
        return list(unique.values())

    @property
    def predictor(self) -> str:
        """The predictors in use, by file name and content; '' if none is."""
        used = {
            f"{Path(e.spec.paths['predictor']).name} ({e.spec.contents['predictor'][:8]})"
            for e in self.entries
            if "predictor" in e.spec.contents
        }
        return ", ".join(sorted(used))


def sweep_names() -> list[str]:
    """The sweeps that come with the program."""
    return _names(SWEEPS)


def profile_names() -> list[str]:
    """The profiles that come with the program."""
    return _names(PROFILES)


def load_profile(name: str) -> dict[str, Any]:
    """A profile by name or by path; raises UserError if there is none."""
    return {"name": Path(name).stem, **_read(PROFILES, name, "profile")}


def load_sweep(
    name: str,
    profile_name: str,
    *,
    controls: bool = False,
    seeds: int | None = None,
    files: Mapping[str, str] | None = None,
    changes: Mapping[str, Any] | None = None,
) -> Sweep:
    """Expand a sweep for a profile.

    controls: include the methods listed as controls. seeds: how many, in place of the sweep's.
    files: user-named files, as for `resolve`; "weights:ROLE" is the start of one model.
    changes: fields to set in every run.
    """
    declared = _declared(name)
    profile = _in_setting(load_profile(profile_name), declared.get("setting", ""))
    for kind in ("models", "datasets"):  # a sweep may bring its own, which no table shows
        profile[kind] = {**profile[kind], **declared.get(kind, {})}
    methods = declared["methods"] + (declared.get("controls", []) if controls else [])
    builder = _Builder(profile, files or {}, changes or {})
    entries: list[Entry] = []
    for grid in _grids(declared):
        chosen = [m for m in methods if m["name"] in grid.get("methods", [m["name"]])]
        for model in grid["models"]:
            for dataset in grid["datasets"]:
                numbers = range(seeds) if seeds else grid["seeds"]
                entries += builder.pair(model, dataset, chosen, numbers)
    return Sweep(
        name=Path(name).stem,
        table=declared.get("table", declared["name"]),
        title=declared["title"],
        profile=profile,
        entries=tuple(entries),
        artifacts=tuple({s.id: s for s in builder.artifacts}.values()),
    )


class _Builder:
    """Makes the runs of one profile and collects the artifacts they need."""

    def __init__(
        self, profile: Mapping[str, Any], files: Mapping[str, str], changes: Mapping[str, Any]
    ) -> None:
        self._profile, self._files, self._changes = profile, files, changes
        self.artifacts: list[Spec] = []

    def pair(
        self, model: str, dataset: str, methods: Iterable[Mapping[str, Any]], seeds: Iterable[int]
    ) -> list[Entry]:
        """All runs of one model and data set. Matched methods are made after those they match."""
        base = self._base(model, dataset)
        cells: dict[str, list[Spec]] = {}
        for method in sorted(methods, key=lambda m: "match" in m):
            match = tuple(s.id for s in cells[method["match"]]) if "match" in method else ()
            cells[method["name"]] = [self._run(base, method, seed, match) for seed in sorted(seeds)]
        return [
            Entry(spec, {"model": model, "dataset": dataset, "method": method["name"]})
            for method in methods
            for spec in cells[method["name"]]
        ]

    def _run(
        self, base: Mapping[str, Any], method: Mapping[str, Any], seed: int, match: tuple[str, ...]
    ) -> Spec:
        values = {**base, **method.get("set", {}), "seed": seed, "match": match}
        values |= {key: values[key] * by for key, by in method.get("scale", {}).items()}
        strategy = method.get("strategy", method["name"])
        values |= {"strategy": strategy, "options": method.get("options", {})}
        if strategy_class(strategy).needs_reference:
            reference = self._resolved({**base, "seed": REFERENCE_SEED}).but(keep_model=True)
            self.artifacts.append(reference)
            values["reference"] = f"run:{reference.id}"
        return self._resolved(values)

    def _base(self, model: str, dataset: str) -> dict[str, Any]:
        """The fields that all methods on one model and data set share."""
        profile = self._profile
        for kind, role in (("models", model), ("datasets", dataset)):
            if role not in profile[kind]:
                raise unknown(f"profile {profile['name']}: {kind}", role, profile[kind])
        pair = profile.get("pairs", {}).get(f"{model}/{dataset}", {})
        values = {**profile["run"], **profile["models"][model], **profile["datasets"][dataset]}
        values |= {**pair, **self._changes}
        if f"weights:{model}" in self._files:
            values["weights_file"] = self._files[f"weights:{model}"]
        backbone = values.pop("backbone", None)
        if backbone == {}:
            values |= {"weights": "", "weights_file": ""}  # from scratch
        elif backbone is not None:
            shared = {k: v for k, v in profile["run"].items() if k in FIELDS}
            shared |= {k: v for k, v in self._changes.items() if k in PLACE}
            pretraining = {**shared, "model": values["model"], **backbone}
            pretraining |= {"seed": BACKBONE_SEED, "evaluate_on": "test"}
            artifact = self._resolved(pretraining).but(keep_model=True)
            self.artifacts.append(artifact)
            values["weights"] = f"run:{artifact.id}"
        return values

    def _resolved(self, values: Mapping[str, Any]) -> Spec:
        fields = {k: v for k, v in values.items() if k != "weights_file"}
        files = {k: v for k, v in self._files.items() if not k.startswith("weights:")}
        if values.get("weights_file") and not fields.get("weights", "").startswith("run:"):
            fields["weights"] = "file"
            files["weights"] = values["weights_file"]
        return resolve(Spec.from_dict(fields), self._profile["name"], files)


def _declared(name: str) -> dict[str, Any]:
    """A sweep as it is written down, and checked; or the one that it says it is the same as."""
    declared = _read(SWEEPS, name, "sweep")
    if "same_as" in declared:
        _check_keys(declared, ("same_as",), ("same_as",), f"sweep {name}")
        return _declared(declared["same_as"])
    _check_declared(declared, f"sweep {name}")
    return declared | {"name": Path(name).stem}


def _in_setting(profile: Mapping[str, Any], setting: str) -> dict[str, Any]:
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
    methods = [*declared["methods"], *declared.get("controls", [])]
    for method in methods:
        keys = ("name", "strategy", "options", "match", "set", "scale")
        _check_keys(method, keys, ("name",), f"{where}, method {method.get('name', '?')}")
        for key in method.get("scale", {}):
            if key not in SCALED:
                raise unknown(f"{where}, method {method['name']}: scale", key, list(SCALED))
    names = [method["name"] for method in methods]
    for grid in _grids(declared):
        axes = ("models", "datasets", "seeds")
        _check_keys(grid, (*axes, "methods"), axes, f"{where}, [grid]")
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


def _grids(declared: Mapping[str, Any]) -> list[Mapping[str, Any]]:
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
