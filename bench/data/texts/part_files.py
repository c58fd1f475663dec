"""Files of the parts of a text table: PART.csv and the like, or shards as on the hub."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.data.interface.hub_shards import are_complete, get_split
from bench.data.texts.part_names import NAMES, refuse_saved_data_set, refuse_unread
from bench.data.texts.table_file import SUFFIXES
from bench.errors import UserError

Files = Mapping[str, Sequence[Path]]


def find_part_files(folder: Path, data_set: str) -> Files:
    """Return the files of each part that a folder contains: one file, or its shards in order.

    Raises UserError if there is no train part, if a part is there twice or lacks a shard, and if a
    part is there but would not be read.
    """
    by_part = _group_by_part(folder)
    for part in NAMES:
        if part in by_part:
            _check_files(by_part[part], data_set)
            continue
        if part == "train":
            refuse_saved_data_set(folder, data_set)
        refuse_unread(folder, part, data_set)
    if "train" not in by_part:
        raise UserError(f"{data_set}: {folder} has no train file{_suggest_place(folder)}")
    return by_part


def _group_by_part(folder: Path) -> dict[str, list[Path]]:
    """Return the tables of a folder by the part that their names name exactly."""
    tables = [file for file in sorted(folder.iterdir()) if file.suffix.lower() in SUFFIXES]
    splits = [(file, (get_split(file) or file.stem).lower()) for file in tables if file.is_file()]
    by_part = {
        part: [file for file, split in splits if split in names] for part, names in NAMES.items()
    }
    return {part: files for part, files in by_part.items() if files}


def _check_files(files: Sequence[Path], data_set: str) -> None:
    """Raise UserError unless the files of a part are one file or one complete set of shards."""
    first, split = files[0], get_split(files[0])
    for other in files[1:]:
        if split is None or get_split(other) != split:
            raise UserError(
                f"{data_set}: {first.name} and {other.name} are the same part; remove one of them, "
                f"or rename it if it is another part ({', '.join(NAMES)})"
            )
    if split is not None and not are_complete(files):
        names = ", ".join(file.name for file in files)
        raise UserError(
            f"{data_set}: {first.parent} does not contain one complete set of shards of {split} "
            f"({names}); download the data set again"
        )


def _suggest_place(folder: Path) -> str:
    """Return the end of a message: a subfolder with a train part, or how to make one."""
    for inner in sorted(path for path in folder.iterdir() if path.is_dir()):
        if "train" in _group_by_part(inner):
            return f", but its folder {inner.name} has one; give texts:{inner}"
    return (
        "; put train.csv there, and validation.csv and test.csv if there are any (or files that "
        f"end in {', '.join(SUFFIXES[1:])})"
    )
