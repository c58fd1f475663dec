"""Files of the parts of a text table: PART.csv and the like, or shards as on the hub."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.data.interface.hub_shards import find_shard_fault, get_split, sort_shards
from bench.data.texts.part_names import (
    HIDDEN,
    NAMES,
    refuse_broken_link,
    refuse_saved_data_set,
    refuse_unread,
)
from bench.data.texts.table_file import LINES, SUFFIXES, Row, read_table
from bench.errors import UserError

Files = Mapping[str, Sequence[Path]]


def find_part_files(folder: Path, data_set: str) -> Files:
    """Return the files of each part that a folder contains: one file, or its shards in order.

    Raises UserError if there is no train part, if a part is there twice or lacks a shard, and if a
    part is there but would not be read.
    """
    try:
        by_part = _group_by_part(folder)
        for part in NAMES:
            refuse_broken_link(folder, part, data_set)
            if part in by_part:
                _check_files(by_part[part], data_set)
                continue
            if part == "train":
                refuse_saved_data_set(folder, data_set)
            refuse_unread(folder, part, data_set)
        if "train" not in by_part:
            raise UserError(f"{data_set}: {folder} has no train file{_suggest_place(folder)}")
    except OSError as error:
        raise UserError(
            f"{data_set}: {error.filename or folder} cannot be read ({error.strerror}); check its "
            "permissions"
        ) from None
    return by_part


def read_part(files: Sequence[Path]) -> tuple[str, list[Row]]:
    """Return the origin of a part, for messages, and the rows of its files.

    A shard may be empty, but not the whole part. Raises UserError for a file that cannot be read,
    and for shards with different columns.
    """
    if len(files) == 1:
        return str(files[0]), read_table(files[0])
    tables = {file: read_table(file, may_be_empty=True) for file in files}
    filled = {file: rows for file, rows in tables.items() if rows}
    if not filled:
        raise UserError(f"{files[0]} to {files[-1].name} contain no rows; use other files")
    first = next(iter(filled))
    for file, rows in filled.items():
        if file.suffix.lower() not in LINES and {*rows[0]} != {*filled[first][0]}:
            here, there = (", ".join(map(str, table[0])) for table in (filled[first], rows))
            raise UserError(
                f"{first} has the columns {here}, but {file.name} has the columns {there}; save "
                "both with the same columns"
            )
    return f"{files[0]} to {files[-1].name}", [row for rows in tables.values() for row in rows]


def _group_by_part(folder: Path) -> dict[str, list[Path]]:
    """Return the tables of a folder by part. Other files, such as train_notes.csv, are left out.

    The name of a table, or the split in the name of a shard, must be one of the names of the part.
    """
    tables = [file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES]
    splits = [(file, (get_split(file) or file.stem).lower()) for file in tables if file.is_file()]
    by_part = {
        part: sort_shards([file for file, split in splits if split in names])
        for part, names in NAMES.items()
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
    if split is not None and (fault := find_shard_fault(files)):
        raise UserError(f"{data_set}: in {first.parent}, {fault}")


def _suggest_place(folder: Path) -> str:
    """Return the end of a message: subfolders with a train part, or how to make one."""
    inner = [path for path in sorted(folder.iterdir()) if path.is_dir()]
    found = [path for path in inner if not path.name.startswith(HIDDEN)]
    found = [path for path in found if "train" in _group_by_part(path)]
    if found:
        names = ", ".join(path.name for path in found)
        has = f"its folder {names} has one" if len(found) == 1 else f"its folders {names} have one"
        return f", but {has}; give texts:{found[0]}" + " or another of them" * (len(found) > 1)
    return (
        "; put train.csv there, and validation.csv and test.csv if there are any (or files that "
        f"end in {', '.join(SUFFIXES[1:])})"
    )
