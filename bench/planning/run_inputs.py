"""Inputs of a run: the paths of its files and the hashes of their contents."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.data.catalogue import find_data_set
from bench.data.interface.splits import Part
from bench.errors import UserError
from bench.files import expand_home, hash_file
from bench.models.texts.catalogue import find_text_model
from bench.models.texts.descriptor import TextModel
from bench.models.texts.hub_model import HubModel
from bench.spec import Spec
from bench.strategy_api.registry import create_strategy, find_foreign_package, normalize_options

if TYPE_CHECKING:
    from bench.strategy_api.strategy import Strategy

OPTIONS = {"data": "--data-root", "vocab": "--vocab", "predictor": "--predictor"}


def resolve_inputs(spec: Spec, profile: str, files: Mapping[str, str] | None = None) -> Spec:
    """Return the spec with validated options, and with paths and hashes of all its input files.

    profile: name of the profile whose files are the default for strategies.
    files: paths that the user gives, by kind: "data" (a data root), "weights" (safetensors),
    "predictor", …
    Raises UserError for an invalid option and for a file that cannot be read.
    """
    paths = {k: str(expand_home(v).resolve()) for k, v in (files or {}).items() if v}
    named = set(paths)
    contents = {}
    name = spec.strategy
    if ":" in name:
        path = expand_home(name.rpartition(":")[0]).resolve()
        paths["strategy"] = str(path)
        contents["strategy"] = hash_file(path)
    if package := find_foreign_package(name):
        contents["strategy"] = package
    options = normalize_options(name, spec.options, paths.get("strategy", ""))
    strategy = create_strategy(name, options, paths.get("strategy", ""))
    for what, path in strategy.files(profile).items():
        if what not in paths and not path.exists():
            raise UserError(
                f"{spec.label}: there is no {what} file for these options ({path}); change the "
                "options, or give your own file, such as --predictor FILE from `freezebench "
                "predictor train` (with --shipped, it restores the shipped files)"
            )
        paths.setdefault(what, str(path))
        contents[what] = hash_file(Path(paths[what]))
    if given := {what: Path(paths[what]) for what in strategy.files(profile) if what in named}:
        strategy.check_files(given)
    if spec.weights == "file":
        if "weights" not in paths:
            raise UserError(f"{spec.label}: weights = 'file' needs a file; give --weights FILE")
        contents["weights"] = _hash_weights(Path(paths["weights"]))
    else:
        paths.pop("weights", None)
        if spec.weights == "pretrained":
            from bench.models.weights.loading import identify_published

            contents["weights"] = identify_published(spec.model)
        elif spec.weights and not spec.weights.startswith("run:"):
            raise UserError(
                f"{spec.label}: weights = {spec.weights!r} is not valid; give '', 'pretrained', "
                "'run:ID' or 'file'"
            )
    contents |= _hash_text_model(spec, paths)
    _check_other_runs(spec, strategy, options)
    part: Part = "test" if spec.evaluate_on == "test" else "validation"
    contents["data"] = _hash_data(spec.data, paths.get("data", ""), part)
    paths = {k: v for k, v in paths.items() if k in contents or k == "data"}
    return spec.with_changes(options=options, contents=contents, paths=paths)


def select_read_files(files: Mapping[str, str], specs: Iterable[Spec]) -> dict[str, str]:
    """Return those of the files that the user gives which at least one run reads, by kind."""
    specs = list(specs)
    paths = {kind: str(expand_home(file).resolve()) for kind, file in files.items()}
    read = {kind for kind, path in paths.items() if any(_reads(s, kind, path) for s in specs)}
    return {kind: file for kind, file in files.items() if kind in read}


def check_files_used(files: Mapping[str, str], specs: Iterable[Spec]) -> None:
    """Raise UserError if no run reads a data root, vocabulary or predictor that the user gives."""
    read = select_read_files(files, specs)
    for kind, option in OPTIONS.items():
        if kind in files and kind not in read:
            raise UserError(
                f"{option} {files[kind]}: has no effect, because no run reads it; omit it"
            )


def _reads(spec: Spec, kind: str, path: str) -> bool:
    """Return whether a run reads a file; the kind of weights may have a role, as "weights:ROLE"."""
    if kind == "data" and not find_data_set(spec.data).reads_root:
        return False
    return spec.paths.get(kind.partition(":")[0]) == path


def _check_other_runs(spec: Spec, strategy: Strategy, options: Mapping[str, Any]) -> None:
    """Raise UserError if `match` or `reference` is missing, malformed or without effect."""
    name = spec.strategy
    if spec.match and not strategy.matches:
        raise UserError(f"{spec.label}: strategy {name} does not support `match`; remove it")
    if spec.match and options.get("saving"):
        raise UserError(
            f"{spec.label}: saving = {options['saving']} has no effect on a matched run; "
            "remove `saving` or `match`"
        )
    if strategy.needs_reference and not spec.reference:
        raise UserError(
            f"{spec.label}: the strategy {name} needs a reference; give --reference run:ID, or "
            "use a sweep, which trains the references of its runs"
        )
    if spec.reference and not strategy.needs_reference:
        raise UserError(f"{spec.label}: strategy {name} uses no reference; remove --reference")
    if spec.reference and not spec.reference.startswith("run:"):
        raise UserError(
            f"{spec.label}: reference = {spec.reference!r} is not valid; give run:ID, the id of a "
            "finished run with --keep-model"
        )


def _hash_weights(path: Path) -> str:
    if path.is_dir():
        from bench.models.weights.files import refuse_folder

        refuse_folder(path)
    return hash_file(path)


def _hash_text_model(spec: Spec, paths: dict[str, str]) -> dict[str, str]:
    """Return the hashes of the vocabulary and configuration of a text model, by role.

    The path of a vocabulary is removed if the model does not read it.
    """
    text_model = find_text_model(spec.model)
    if text_model and not isinstance(text_model, HubModel):
        return {"vocab": _hash_vocabulary(text_model, paths)}
    paths.pop("vocab", None)
    return text_model.identify_files() if isinstance(text_model, HubModel) else {}


def _hash_vocabulary(model: TextModel, paths: dict[str, str]) -> str:
    """Return the hash of the model's vocabulary.

    If no vocabulary file is given, vocab.txt in the folder of the weights is used, if present.
    """
    if model.words:
        paths.pop("vocab", None)
        return hashlib.sha256("\n".join(model.words).encode()).hexdigest()[:16]
    neighbour = Path(paths.get("weights", "")).parent / "vocab.txt"
    if "vocab" not in paths and "weights" in paths and neighbour.is_file():
        paths["vocab"] = str(neighbour)
    return hash_file(Path(paths["vocab"])) if "vocab" in paths else model.vocabulary_hash


@lru_cache(maxsize=64)
def _hash_data(name: str, root: str, evaluate_on: Part) -> str:
    return find_data_set(name).fingerprint_for(evaluate_on, Path(root) if root else None)
