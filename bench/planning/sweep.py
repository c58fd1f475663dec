"""Expansion of a sweep and a profile into runs, and into the artifacts that these runs need.

A sweep (sweeps/NAME.toml) refers to roles: the paper's names of models and data sets. A profile
(sweeps/profiles/NAME.toml) assigns a model or data set to each role, and contains the training
settings. A setting of the profile, such as "scratch", replaces some values if a sweep selects it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bench.data.catalogue import find_fold
from bench.errors import UserError
from bench.models.shipped_backbones import find_backbone
from bench.options import make_unknown_error
from bench.planning.input_fields import check_changes, drop_idle_fields
from bench.planning.run_inputs import resolve_inputs, select_read_files
from bench.planning.sweep_command import build_command
from bench.planning.sweep_files import apply_setting, check_pairs, load_profile, load_sweep_file
from bench.planning.sweep_models import Method, SweepFile
from bench.spec import FIELDS, Spec
from bench.strategy_api.registry import load_strategy_class

REFERENCE_SEED = 1000  # must differ from the seeds of a cell; a multiple of all numbers of folds
BACKBONE_SEED = 0
INPUTS = ("train_limit", "evaluate_on", "resolution", "length", "normalisation")  # of a reference
BACKBONE_CHANGES = ("device", "precision", "resolution", "threads")  # backbones change with runs


@dataclass(frozen=True)
class Entry:
    """Run of a sweep's grid with its roles: model, dataset, method."""

    spec: Spec
    roles: Mapping[str, str]


@dataclass(frozen=True)
class Sweep:
    """Sweep expanded into runs.

    table: name of the table that reports the sweep.
    entries: runs that the report shows.
    artifacts: other runs that the entries need, such as backbones.
    parts: the sweeps that were joined into this one.
    changes: fields that the user or the sweep sets for the entries. These fields override the
    profile.
    asked: arguments of the `freezebench sweep` command that executes the sweep.
    """

    name: str
    table: str
    title: str
    profile: Mapping[str, Any]
    entries: tuple[Entry, ...]
    artifacts: tuple[Spec, ...]
    parts: tuple[Sweep, ...] = ()
    changes: Mapping[str, Any] = field(default_factory=dict)
    asked: str = ""

    @property
    def names(self) -> dict[str, str]:
        """Name of the model or data set that each role of the entries selects."""
        if self.parts:
            return {role: name for part in self.parts for role, name in part.names.items()}
        shown = {e.roles[axis] for e in self.entries for axis in ("model", "dataset")}
        roles = {**self.profile["models"], **self.profile["datasets"]}
        names = {role: v.get("model", v.get("data", "")) for role, v in roles.items()}
        return {role: name for role, name in names.items() if role in shown}

    @property
    def specs(self) -> list[Spec]:
        """All runs without duplicates, artifacts first."""
        unique = {s.id: s for s in [*self.artifacts, *(e.spec for e in self.entries)]}
        # An artifact may have the id of an entry, because keep_model is not part of the id. Use the
        # artifact's spec, since its model must be kept.
        for spec in self.artifacts:
            unique[spec.id] = spec
        return list(unique.values())

    @property
    def shared(self) -> int:
        """Number of runs that belong to more than one part."""
        counts = Counter(spec.id for part in self.parts for spec in part.specs).values()
        return sum(count > 1 for count in counts)

    @property
    def predictor(self) -> str:
        """File names and hash prefixes of the predictors in use; "" if there are none."""
        used = {
            f"{Path(e.spec.paths['predictor']).name} ({e.spec.contents['predictor'][:8]})"
            for e in self.entries
            if "predictor" in e.spec.contents
        }
        return ", ".join(sorted(used))


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

    controls: include the methods listed as controls.
    seeds: number of seeds, counted from 0, in place of the sweep's seeds.
    files: paths as for `resolve_inputs`; "weights:ROLE" gives the initial weights of one model.
    changes: fields to set (for backbones, those in BACKBONE_CHANGES).
    """
    stem, declared = load_sweep_file(name)
    sweep = expand_sweep(declared, profile_name, stem, controls, seeds, files, changes)
    read = select_read_files(files or {}, sweep.specs)  # the command refuses any other file
    asked = build_command(name, profile_name, controls, seeds or 0, read, changes or {})
    return replace(sweep, name=Path(name).stem, asked=asked)


def expand_sweep(
    declared: SweepFile,
    profile_name: str,
    name: str,
    controls: bool = False,
    seeds: int | None = None,
    files: Mapping[str, str] | None = None,
    changes: Mapping[str, Any] | None = None,
) -> Sweep:
    """Expand the contents of a sweep file; `name` names the sweep. See `load_sweep`."""
    profile = apply_setting(load_profile(profile_name), declared.setting)
    for kind in ("models", "datasets"):  # a sweep may define roles of its own
        profile[kind] = {**profile[kind], **getattr(declared, kind)}
    check_pairs(profile)
    methods = declared.all_methods if controls else declared.methods
    builder = _Builder(profile, files or {}, changes or {}, declared.set)
    entries: list[Entry] = []
    for grid in declared.grid:
        chosen = [m for m in methods if grid.methods is None or m.name in grid.methods]
        for model in grid.models:
            for dataset in grid.datasets:
                numbers = range(seeds or 0) or grid.seeds
                entries += builder.build_pair(model, dataset, chosen, numbers)
    check_changes(changes or {}, (entry.spec.data for entry in entries))
    return Sweep(
        name=name,
        table=declared.table or name,
        title=declared.title,
        profile=profile,
        entries=tuple(entries),
        artifacts=tuple({s.id: s for s in builder.artifacts}.values()),
        changes={**declared.set, **(changes or {})},
    )


def join_sweeps(sweeps: Sequence[Sweep]) -> Sweep:
    """Join sweeps of one profile into a single sweep without duplicate runs.

    Raises UserError if two sweeps have the same table, because their reports have its name.
    """
    if len(sweeps) == 1:
        return sweeps[0]
    makers: dict[str, Sweep] = {}
    for sweep in sweeps:
        other = makers.setdefault(sweep.table, sweep)
        if other is not sweep:
            raise UserError(
                f"{other.name} and {sweep.name} both produce {sweep.table}; give only one of them"
            )
    return Sweep(
        name="+".join(sweep.name for sweep in sweeps),
        table="",
        title="; ".join(sweep.title for sweep in sweeps),
        profile=sweeps[0].profile,
        entries=tuple(entry for sweep in sweeps for entry in sweep.entries),
        artifacts=tuple({a.id: a for sweep in sweeps for a in sweep.artifacts}.values()),
        parts=tuple(sweeps),
        changes=dict(set.intersection(*({*sweep.changes.items()} for sweep in sweeps))),
    )


class _Builder:
    """Builder of the runs of one profile; collects the artifacts that the runs need."""

    def __init__(
        self,
        profile: Mapping[str, Any],
        files: Mapping[str, str],
        changes: Mapping[str, Any],
        shared: Mapping[str, Any],
    ) -> None:
        self._profile, self._files, self._changes, self._shared = profile, files, changes, shared
        self.artifacts: list[Spec] = []

    def build_pair(
        self, model: str, dataset: str, methods: Sequence[Method], seeds: Iterable[int]
    ) -> list[Entry]:
        """Return all runs of one model and data set."""
        base = self._collect_base_fields(model, dataset)
        cells: dict[str, list[Spec]] = {}
        # Matched methods come last, because their specs contain the ids of the runs they match.
        for method in sorted(methods, key=lambda m: bool(m.match)):
            target = method.match
            if target and target not in cells:
                raise UserError(
                    f"method {method.name}: cannot match {target!r}, because that method has a "
                    "`match` itself or is a control; match another method, or give --controls"
                )
            match = tuple(spec.id for spec in cells[target]) if target else ()
            try:
                cells[method.name] = [
                    self._build_run(base, method, seed, match) for seed in sorted(seeds)
                ]
            except UserError as error:
                text = str(error).removeprefix("run: ")
                raise UserError(f"{method.name} for {model} on {dataset}: {text}") from error
        return [
            Entry(spec, {"model": model, "dataset": dataset, "method": method.name})
            for method in methods
            for spec in cells[method.name]
        ]

    def _build_run(
        self, base: Mapping[str, Any], method: Method, seed: int, match: tuple[str, ...]
    ) -> Spec:
        changes = drop_idle_fields(self._changes, base["data"])
        values = {**base, **self._shared, **method.set, **changes}
        values |= {"seed": seed, "match": match}
        if "weights" in method.set:  # the method's own choice replaces the backbone
            values.pop("weights_file", None)
        values |= method.scale_fields(values)
        if method.adapter:
            values["model"] = f"{method.adapter}:{values['model']}"
        strategy = method.strategy or method.name
        values |= {"strategy": strategy, "options": method.options}
        if load_strategy_class(strategy).needs_reference:
            # With the run's own split, a reference never trains on a test image of the run.
            own = {k: values[k] for k in INPUTS if k in values}
            seed = REFERENCE_SEED + find_fold(base["data"], seed)
            reference = self._resolve_spec({**base, **own, "seed": seed})
            reference = reference.with_changes(keep_model=True)
            self.artifacts.append(reference)
            values["reference"] = f"run:{reference.id}"
        return self._resolve_spec(values)

    def _collect_base_fields(self, model: str, dataset: str) -> dict[str, Any]:
        """Return the fields that all methods share on one model and data set."""
        profile = self._profile
        for kind, role in (("model", model), ("dataset", dataset)):
            if role not in (known := profile[f"{kind}s"]):
                raise make_unknown_error(f"profile {profile['name']}: {kind}", role, known)
        pair = profile.get("pairs", {}).get(f"{model}/{dataset}", {})
        values = {**profile["run"], **profile["models"][model], **profile["datasets"][dataset]}
        values |= pair
        values |= drop_idle_fields(self._changes, values.get("data", ""))
        backbone = values.pop("backbone", None)
        own = self._files.get(f"weights:{model}")
        if own and backbone != {}:  # `backbone = {}` means from scratch; the user's file is ignored
            values["weights_file"], backbone = own, None
        if isinstance(backbone, str):
            values["weights_file"] = str(find_backbone(backbone))
        elif backbone == {}:
            values |= {"weights": "", "weights_file": ""}  # from scratch
        elif backbone is not None:
            if not isinstance(backbone, dict):
                raise UserError(
                    f"profile {profile['name']}: backbone is {backbone!r} for {model} on "
                    f"{dataset}; it must be a name, a table of fields, or {{}} for random weights"
                )
            shared = {k: v for k, v in profile["run"].items() if k in FIELDS}
            changes = {k: v for k, v in self._changes.items() if k in BACKBONE_CHANGES}
            shared |= drop_idle_fields(changes, backbone.get("data", ""))
            pretraining = {**shared, "model": values.get("model", ""), **backbone}
            pretraining |= {"seed": BACKBONE_SEED, "evaluate_on": "test"}
            same_data = pretraining.get("data") == values.get("data")
            # With one fixed test part, no backbone trains on it. Folds rotate with the seed.
            if same_data and (
                find_fold(values["data"], 1) or values.get("evaluate_on") == "validation"
            ):
                raise UserError(
                    f"profile {profile['name']}: the backbone of {model} would train on "
                    f"{values['data']}, the data set of its runs, and see their evaluation "
                    "samples; give another data set"
                )
            artifact = self._resolve_spec(pretraining).with_changes(keep_model=True)
            self.artifacts.append(artifact)
            values["weights"] = f"run:{artifact.id}"
        return values

    def _resolve_spec(self, values: Mapping[str, Any]) -> Spec:
        fields = {k: v for k, v in values.items() if k != "weights_file"}
        files = {k: v for k, v in self._files.items() if not k.startswith("weights:")}
        if values.get("weights_file") and not fields.get("weights", "").startswith("run:"):
            fields["weights"] = "file"
            files["weights"] = values["weights_file"]
        return resolve_inputs(Spec.from_dict(fields), self._profile["name"], files)
