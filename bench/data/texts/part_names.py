"""Names of the parts of a text table, and refusal of a part that would not be read.

If a part were left out without an error, the score would come from texts of another part.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from bench.data.interface.hub_shards import get_split
from bench.data.texts.table_file import SUFFIXES
from bench.errors import UserError

# Names of each part, as files or as splits. The datasets library counts eval as a test part too.
NAMES = {
    "train": ("train", "training"),
    "validation": ("validation", "validate", "valid", "val", "dev"),
    "test": ("test", "testing", "eval", "evaluation"),
}
# Suffixes of tables that are not read, and of files that may be tables.
OTHER_TABLES = (".arrow", ".feather", ".orc", ".avro", ".xls", ".xlsx", ".ods")
COMPRESSED = (".gz", ".bz2", ".xz", ".zst", ".zip")
MAYBE_TABLES = ("", ".txt", ".json", *OTHER_TABLES, *COMPRESSED)
HIDDEN = (".", "~")  # first characters of the files that systems and editors write


def refuse_unread(path: Path, part: str, data_set: str) -> None:
    """Raise UserError if an entry of a folder looks like the part but is not read.

    Examples are test-0.csv, reviews_test.parquet, test.csv.gz, and a sub-folder test that contains
    a table.
    """
    entries = [entry for entry in sorted(path.iterdir()) if not entry.name.startswith(HIDDEN)]
    files = [entry for entry in entries if entry.is_file()]
    named = [file for file in files if _names_part(_get_stem(file), part)]
    tables = [file for file in named if file.suffix.lower() in SUFFIXES]
    others = [file for file in named if file not in tables and _may_be_table(file, part)]
    folders = [
        entry
        for entry in entries
        if entry.is_dir() and _names_part(entry.name, part) and _contains_table(entry)
    ]
    if found := [*tables, *others, *folders]:
        wanted = f"{part}{tables[0].suffix.lower()}" if tables else f"{part}.csv"
        join = len(tables) > 1 or found[0] in folders
        way = "join all files of this part in" if join else "rename" if tables else "convert"
        name = f"the folder {found[0].name}" if found[0] in folders else found[0].name
        raise UserError(
            f"{data_set}: {name} looks like the {part} part but would not be read; "
            f"{way}{' it to' if not join else ''} {wanted}, or move it to another folder"
        )


def refuse_broken_link(path: Path, part: str, data_set: str) -> None:
    """Raise UserError if a file of the part is a link to a file that does not exist."""
    for entry in sorted(path.iterdir()):
        named = not entry.name.startswith(HIDDEN) and _names_part(_get_stem(entry), part)
        if named and entry.is_symlink() and not entry.exists():
            raise UserError(
                f"{data_set}: {entry.name} is a link to a file that does not exist; download the "
                "data set again, or remove the link"
            )


def refuse_unread_splits(splits: Iterable[str], part: str, data_set: str) -> None:
    """Raise UserError if a split looks like the part, such as MNLI's validation_matched."""
    for split in splits:
        if _names_part(split, part):
            raise UserError(
                f"{data_set}: its split {split} looks like the {part} part but would not be read; "
                f"save the splits that you want as train.csv and {part}.csv in a folder, and give "
                "it as texts:FOLDER"
            )


def refuse_saved_data_set(path: Path, data_set: str) -> None:
    """Raise UserError if save_to_disk of the datasets library wrote the folder."""
    split = "['train']" if (path / "dataset_dict.json").is_file() else ""
    if split or ((path / "dataset_info.json").is_file() and any(path.glob("*.arrow"))):
        raise UserError(
            f"{data_set}: {path} was written by save_to_disk, whose files are not read; save each "
            f"split in another folder, as load_from_disk({str(path)!r}){split}"
            '.to_parquet("train.parquet"), and give that folder'
        )


def _names_part(name: str, part: str) -> bool:
    """Return whether a name contains a word for the part.

    If a name also contains a word for train, it names another part only if its first word is a word
    for that part. So train_val does not name the validation part.
    """
    words = [word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name)]
    if any(word in NAMES["train"] for word in words) and part != "train":
        words = words[:1]
    return any(word in NAMES[part] for word in words)


def _may_be_table(file: Path, part: str) -> bool:
    """Return whether a file of a part may be a table, although its suffix is not in SUFFIXES.

    A text, JSON or archive file counts only if its name is the name of the part. Another name, such
    as test_notes.txt, usually means that the file is no table.
    """
    suffix = file.suffix.lower()
    if suffix in OTHER_TABLES:
        return True
    if suffix in COMPRESSED and Path(file.stem).suffix.lower() in SUFFIXES:
        return True
    return suffix in MAYBE_TABLES and (get_split(file) or _get_stem(file)).lower() in NAMES[part]


def _get_stem(file: Path) -> str:
    return file.name.partition(".")[0]


def _contains_table(folder: Path) -> bool:
    known: Sequence[str] = (*SUFFIXES, *OTHER_TABLES)
    return any(
        {suffix.lower() for suffix in file.suffixes[-2:]} & {*known} for file in folder.rglob("*")
    )
