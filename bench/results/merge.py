"""Merging of results folders from machines without a shared disk. Contradictions raise UserError.

A source may also be a folder of runs in the compact form (compact_form.py).
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.errors import UserError
from bench.files import read_json, replace_atomically
from bench.results.compact_form import SUFFIX, unpack_runs
from bench.results.comparison import find_difference, read_reproducible
from bench.results.run_folder import REPEAT, RunFolder, check_owner
from bench.revisions import RESULTS_VERSION

# File to copy last, because it marks the run as done.
LAST = "result.json"
TIMING = "retime.json"  # written by `freezebench retime`, after the run is done
LEFT_OUT = ("lock", "progress.json", "checkpoint.pt", "failure.json", "traceback.txt")


@dataclass
class MergeOutcome:
    """Ids of runs that were copied, that existed with the same content, or that are not done.

    differing: runs with two results, of which the first was kept.
    """

    copied: list[str] = field(default_factory=list)
    same: list[str] = field(default_factory=list)
    unfinished: list[str] = field(default_factory=list)
    differing: list[str] = field(default_factory=list)


def merge(sources: Sequence[Path], results: Path, *, keep_first: bool = False) -> MergeOutcome:
    """Copy the done runs of the sources into a results folder.

    All runs are checked before the first run is copied.
    Raises UserError if a source is not a results folder, or if a run is damaged.
    Raises UserError if the name of a run's folder is not its id.
    Raises UserError if the reproducible parts of two executions of a run differ (comparison.py).
    keep_first: in this case, keep the execution in `results`, or else that in the first source.
    """
    with tempfile.TemporaryDirectory(prefix="freezebench-merge-") as place:
        folders = []
        packed = [source for source in sources if any(source.glob(f"*{SUFFIX}"))]
        for number, source in enumerate(sources):
            if source in packed:
                unpacked = Path(place) / str(number)
                unpack_runs(source, unpacked)
                folders.append(unpacked)
            if (source / "runs").is_dir() or source not in packed:
                folders.append(source)
        try:
            return _merge_folders(folders, results, keep_first)
        except UserError as error:
            raise UserError(_name_archives(str(error), sources, Path(place))) from None


def _name_archives(message: str, sources: Sequence[Path], place: Path) -> str:
    """Return a message that names the compact files of runs instead of their unpacked folders.

    place: folder whose subfolder N holds the unpacked runs of source N.
    """
    unpacked = re.compile(rf"{re.escape(str(place))}/(\d+)/runs/([^/\s:;,()]+)")
    if unpacked.match(message):  # a fault of one run, whose folder the user cannot delete
        message = f"{message.rpartition('; ')[0]}; export it again, or remove this file"
    return unpacked.sub(lambda m: f"{sources[int(m[1])] / m[2]}{SUFFIX}", message)


def _merge_folders(sources: Sequence[Path], results: Path, keep_first: bool) -> MergeOutcome:
    """Copy the done runs of results folders into one. See `merge`."""
    merged, conflicts = MergeOutcome(), dict[str, str]()
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
            if difference := find_difference(before, found):
                conflicts.setdefault(run_id, _describe_conflict(other, folder, difference))
                continue
            if not before["model"] and found["model"]:  # prefer the copy that has the weights
                chosen[run_id] = folder
        else:
            chosen[run_id] = folder
        if run_id not in known or found["model"]:
            known[run_id] = (folder, found)
    if conflicts and not keep_first:
        first, *others = conflicts.values()
        more = f" (runs that differ too: {len(others)})" if others else ""
        raise UserError(
            f"{first}{more}; delete one of them, or give --keep-first. Nothing was copied"
        )
    for run_id, folder in chosen.items():
        _copy(folder, RunFolder(results, run_id))
        merged.copied.append(run_id)
    merged.differing = list(conflicts)
    merged.same = [n for n in merged.same if n not in chosen and n not in conflicts]
    for run_id, folder in _find_runs(sources):
        own = RunFolder(results, run_id)
        if (
            run_id in merged.same
            and (folder / TIMING).exists()
            and not (own.path / TIMING).exists()
        ):
            _copy_file(folder / TIMING, own.path / TIMING)
    return merged


def _describe_conflict(one: Path, other: Path, difference: str) -> str:
    """Return what two executions of a run differ in, and how honest executions can differ."""
    files = [place / "environment.json" for place in (one, other)]
    devices = [read_json(file).get("device") if file.exists() else "unknown" for file in files]
    why = "one of them may be wrong"
    if devices[0] != devices[1]:
        why = f"{devices[0]} and {devices[1]} round differently, so both can be right"
    elif read_json(one / "spec.json")["device"] == "cuda":
        why = "both can be right, because a GPU can add in another order each time"
    return f"run {one.name} has different results in {one} and {other} ({difference}): {why}"


def _find_runs(sources: Iterable[Path]) -> Iterable[tuple[str, Path]]:
    """Return the id and folder of every run in the sources."""
    folders = []
    for source in sources:
        runs = source / "runs"
        if source.is_file():
            raise UserError(f"{source} is a file; give its folder, {source.parent}")
        if not runs.is_dir():
            raise UserError(
                f"{source} is not a results folder: it has no runs/ folder and no compact runs "
                f"(*{SUFFIX}); check the path"
            )
        folders += [(path.name, path) for path in sorted(runs.iterdir()) if path.is_dir()]
    return folders


def _is_complete(folder: Path) -> bool:
    """Return whether a run is done and, if it must keep its weights, has them."""
    if not (folder / LAST).exists():
        return False
    run = RunFolder(folder.parent.parent, folder.name)
    return run.is_complete(run.read_spec())


def _check_run(run_id: str, folder: Path) -> dict[str, Any]:
    """Read the record of a done run. Raise UserError if it is damaged or belongs to another run."""
    found = read_reproducible(folder)
    spec = RunFolder(folder.parent.parent, folder.name).read_spec()
    for what in ("spec", "result"):
        check_owner(folder, f"{what}.json", found[what].get("id"))
    if spec.id != run_id:
        made_on = folder / "environment.json"
        version = read_json(made_on).get("results_version") if made_on.exists() else RESULTS_VERSION
        cause = "spec.json was altered"
        if version != RESULTS_VERSION:
            cause = f"its results version is {version}, not {RESULTS_VERSION}"
        raise UserError(
            f"{folder}: {cause}, so the settings in spec.json now give the id {spec.id}; move this "
            "folder out of the results folder, and merge again"
        )
    return found


def _copy_file(source: Path, target: Path) -> None:
    with replace_atomically(target) as temporary:
        shutil.copyfile(source, temporary)


def _list_links(folder: str, names: list[str]) -> list[str]:
    """Return the links among the names. `wandb sync --clean` deletes what they point to."""
    return [name for name in names if (Path(folder) / name).is_symlink()]


def _copy(folder: Path, target: RunFolder) -> None:
    """Copy a run's files, its result last. Raise UserError if a process is executing the run."""
    with target.hold_lock() as ours:
        if not ours:
            raise UserError(f"run {target.path.name} is running; merge again when it is done")
        names = sorted(p.name for p in folder.iterdir() if p.name not in (*LEFT_OUT, REPEAT))
        for name in sorted(names, key=lambda name: name == LAST):
            if (folder / name).is_dir():  # the folder of wandb
                place = target.path / name
                shutil.copytree(folder / name, place, ignore=_list_links, dirs_exist_ok=True)
            elif not name.endswith(".tmp"):
                _copy_file(folder / name, target.path / name)
        for name in LEFT_OUT[1:]:
            target.remove(name)
