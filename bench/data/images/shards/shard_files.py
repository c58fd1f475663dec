"""Tar shards of a split, and files that were probably meant to be shards.

The split of a shard is the name of its folder or a word in its file name. A part of a word does not
count, because "medieval-train-0.tar" contains "val".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from bench.errors import UserError

# Folders that operating systems and network drives add, such as recycle bins, in lower case. Like
# hidden files and folders, they are left out.
FOREIGN = (
    "__macosx", "@eadir", "lost+found", "#recycle", "@recycle", "#snapshot", "@recently-snapshot",
    "$recycle.bin", "recycler", "system volume information",
)  # fmt: skip
WORDS = {"train": r"train(ing|set)?", "val": r"e?val(id|idation|set)?"}
COMPRESSED = re.compile(r"\.(tgz|tbz2?|txz|tar\.(gz|bz2|xz|zst|lz4|Z))$", re.IGNORECASE)
# Other names of the folder of a split, in lower case.
OTHER_NAMES = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "eval", "test", "testing", "dev"),
}
SHOWN = 3  # names in a message


def find_shards(root: Path, split: str) -> list[Path]:
    """Return the shards of a split: root/SPLIT/*.tar, or else the root/*.tar named after it.

    Returns [] if root/SPLIT contains folders, because then it is an image folder. Raises UserError
    for a shard whose name contains both splits, and OSError for a folder that cannot be read.
    """
    inside = _list_visible(root / split)
    if any(path.is_dir() for path in inside):
        return []
    if tars := _keep_tars(inside):
        return tars
    found = _keep_tars(path for path in _list_visible(root) if _names(split, path))
    for path in found:
        if all(_names(each, path) for each in WORDS):
            raise UserError(
                f"{path}: its name contains both train and val; rename it, or put the shards into "
                "train/ and val/"
            )
    return found


def explain_wrong_names(root: Path, split: str) -> str:
    """Return a hint on compressed shards of a split or on its folder under another name, or ""."""
    here = _list_visible(root)
    files = [*_list_visible(root / split), *(path for path in here if _names(split, path))]
    if packed := [path.name for path in files if COMPRESSED.search(path.name) and path.is_file()]:
        return f"found {_join(packed)}; shards must not be compressed; decompress them to .tar"
    others = [
        path.name
        for path in here
        if path.name.lower() in OTHER_NAMES[split] and path.name != split and _is_split(path)
    ]
    if not others:
        return ""
    which = "it" if len(others) == 1 else "one of them"
    return f"found {'/, '.join(others)}/; rename {which} to {split}/, or make a link {split} to it"


def explain_missing(root: Path, split: str) -> str:
    """Return advice on a split that has neither class folders nor shards."""
    if hint := explain_wrong_names(root, split):
        return hint
    tars = [path for path in _list_visible(root) if path.suffix.lower() == ".tar"]
    if unnamed := [path.name for path in tars if not any(_names(each, path) for each in WORDS)]:
        return (
            f"found {_join(unnamed)}; put the shards into {split}/, or name them "
            f"NAME-{split}-NUMBER.tar"
        )
    parquet = [path for place in (root, root / "data") for path in _list_visible(place)
               if path.suffix.lower() == ".parquet"]  # fmt: skip
    if parquet:
        names = _join([path.relative_to(root).as_posix() for path in parquet])
        return (
            f"found {names}; a folder of images cannot hold parquet files; save their images "
            "as train/CLASS/*.png and val/CLASS/*.png, or pass --data cifar10 or cifar100 with "
            "--data-root for the files of CIFAR"
        )
    return "an image folder must contain train/CLASS/ and val/CLASS/, or tar shards"


def _list_visible(folder: Path) -> list[Path]:
    """Return the sorted entries that `is_visible` accepts; [] if the folder cannot be read."""
    found = folder.glob("*") if folder.is_dir() else ()
    return sorted(p for p in found if is_visible(p.name))


def is_visible(name: str) -> bool:
    """Return whether a file or folder is neither hidden nor one of `FOREIGN`."""
    return not name.startswith(".") and name.lower() not in FOREIGN


def _keep_tars(paths: Iterable[Path]) -> list[Path]:
    found = [path for path in paths if path.suffix.lower() == ".tar"]
    for path in found:
        if path.is_symlink() and not path.exists():
            raise UserError(
                f"{path}: a link to {path.readlink()}, which does not exist; restore the target, "
                "or remove the link"
            )
    return [path for path in found if path.is_file()]


def _names(split: str, path: Path) -> bool:
    """Return whether the name of a file contains the split as a word."""
    pattern = rf"(^|[^a-z]){WORDS[split]}([^a-z]|$)"
    return re.search(pattern, path.name, re.IGNORECASE) is not None


def _is_split(folder: Path) -> bool:
    """Return whether a folder contains shards, or class folders with the same names as in train/.

    A test/ folder whose images have no labels has no class folders, so it is not a split.
    """
    if not folder.is_dir():
        return False
    inside = _list_visible(folder)
    known = {path.name for path in _list_visible(folder.parent / "train") if path.is_dir()}
    return any(
        path.suffix.lower() == ".tar" or (path.is_dir() and (not known or path.name in known))
        for path in inside
    )


def _join(names: Sequence[str]) -> str:
    """Return the first names, and the number of further names."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
