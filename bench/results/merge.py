"""Joins results of machines that share no disk, refusing what contradicts."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.errors import UserError
from bench.files import read_json, replace_atomically
from bench.results.comparison import find_difference, read_reproducible
from bench.results.run_folder import RunFolder
from bench.spec import Spec

# The order in which files are copied: the result makes a run done, so it comes last.
LAST = "result.json"
LEFT_OUT = ("lock", "progress.json", "checkpoint.pt", "failure.json", "traceback.txt")


@dataclass
class MergeOutcome:
    """Ids of runs: copied, there already and the same, not done in their source."""

    copied: list[str] = field(default_factory=list)
    same: list[str] = field(default_factory=list)
    unfinished: list[str] = field(default_factory=list)


def merge(sources: Sequence[Path], results: Path) -> MergeOutcome:
    """Copy the done runs of the sources into a results folder; each appears whole or not at all.

    Every run is checked before anything is copied. Raises UserError if a source is no results
    folder, a run is damaged, its folder's name is not its id, or two makings of it contradict
    each other in anything but their clocks.
    """
    merged = MergeOutcome()
    chosen: dict[str, Path] = {}
    known: dict[str, tuple[Path, dict[str, Any]]] = {}
    for run_id, folder in _find_runs(sources):
        if not _is_complete(folder):
            merged.unfinished.append(run_id)
            continue
        found = _check_run(run_id, folder)
        own = RunFolder(results, run_id)
        if run_id not in known and own.done:
            known[run_id] = (own.path, _check_run(run_id, own.path))
            merged.same.append(run_id)
        if run_id in known:
            other, before = known[run_id]
            if told := find_difference(before, found):
                wrong = "the one that is wrong"
                if found["spec"]["device"] == "cuda":
                    wrong += ", or either if they differ by rounding alone, as on a GPU they may"
                raise UserError(
                    f"run {run_id} contradicts itself in {told}: {other} against {folder}; delete "
                    f"{wrong}. Nothing was copied"
                )
            if not before["model"] and found["model"]:  # take the one with its weights
                chosen[run_id] = folder
        else:
            chosen[run_id] = folder
        if run_id not in known or found["model"]:
            known[run_id] = (folder, found)
    for run_id, folder in chosen.items():
        _copy(folder, RunFolder(results, run_id))
        merged.copied.append(run_id)
    merged.same = [run_id for run_id in merged.same if run_id not in chosen]
    return merged


def _find_runs(sources: Iterable[Path]) -> Iterable[tuple[str, Path]]:
    """Every run folder of the sources."""
    folders = []
    for source in sources:
        runs = source / "runs"
        if not runs.is_dir():
            raise UserError(f"{source} is no results folder: it has no runs/; give one that has")
        folders += [(path.name, path) for path in sorted(runs.iterdir()) if path.is_dir()]
    return folders


def _is_complete(folder: Path) -> bool:
    """Whether a run is done, with its weights if it was to keep them."""
    if not (folder / LAST).exists():
        return False
    values = read_json(folder / "spec.json")
    spec = Spec.from_dict({k: v for k, v in values.items() if k not in ("id", "cell")})
    return RunFolder(folder.parent.parent, folder.name).is_complete(spec)


def _check_run(run_id: str, folder: Path) -> dict[str, Any]:
    """What a done run recorded; raises UserError unless it is this run's, and whole."""
    found = read_reproducible(folder)
    values = {k: v for k, v in found["spec"].items() if k not in ("id", "cell")}
    spec = Spec.from_dict(values)
    for what, named in (("spec", found["spec"]), ("result", found["result"])):
        if named.get("id") != run_id:
            raise UserError(f"{folder}: its {what} is that of run {named.get('id')}")
    if spec.id != run_id:
        raise UserError(
            f"{folder}: its spec gives the id {spec.id}; it was altered, or made by another "
            "version of the program"
        )
    return found


def _copy(folder: Path, target: RunFolder) -> None:
    """Copy a run's files, its result last. Raises UserError if somebody makes the run just now."""
    with target.hold_lock() as ours:
        if not ours:
            raise UserError(
                f"run {target.path.name} is being made here; merge again when it is done"
            )
        names = sorted(p.name for p in folder.iterdir() if p.name not in LEFT_OUT)
        for name in sorted(names, key=lambda name: name == LAST):
            if (folder / name).is_dir():  # what wandb keeps
                shutil.copytree(folder / name, target.path / name, dirs_exist_ok=True)
            elif not name.endswith(".tmp"):
                with replace_atomically(target.path / name) as temporary:
                    shutil.copyfile(folder / name, temporary)
        for name in LEFT_OUT[1:]:
            target.remove(name)
