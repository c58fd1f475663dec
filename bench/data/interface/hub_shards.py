"""Shards of the Hugging Face hub: the files of a split, such as train-00000-of-00002.parquet."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

SHARD = re.compile(r"(?P<split>.+)-(?P<number>\d+)-of-(?P<total>\d+)\b")
UNKNOWN = (-1, -1)
MOST_NAMED = 3  # missing shards that a message names


def get_split(path: Path) -> str | None:
    """Return the split in the name of a shard, or None if the name is not that of a shard."""
    match = SHARD.match(path.name)
    return match["split"] if match else None


def sort_shards(paths: Sequence[Path]) -> list[Path]:
    """Return shards in the order of the numbers in their names, which is that of their rows."""
    return sorted(paths, key=lambda path: (_get_numbers(path)[0], path.name))


def find_shard_fault(paths: Sequence[Path]) -> str:
    """Return what is wrong with the shards of a split, or "" if each is there once.

    The text ends with what to do.
    """
    numbers = {path: _get_numbers(path) for path in sort_shards(paths)}
    first, *others = numbers
    if numbers[first] == UNKNOWN:
        return (
            f"{first.name} is not named like a shard; rename it like train-00000-of-00001.parquet, "
            "or remove it"
        )
    for path in others:
        if numbers[path][1] != numbers[first][1]:
            return (
                f"{first.name} and {path.name} state different numbers of shards; remove the files "
                "with one of these numbers"
            )
    for one, other in zip(numbers, others, strict=False):
        if numbers[one] == numbers[other]:
            return f"{one.name} and {other.name} are the same shard; remove one of them"
    total = numbers[first][1]
    missing = sorted({*range(total)} - {number for number, _ in numbers.values()})
    if not missing:
        return ""
    named = ", ".join(_rename(first, number) for number in missing[:MOST_NAMED])
    more = f" and {len(missing) - MOST_NAMED} more" if len(missing) > MOST_NAMED else ""
    are = "is" if len(missing) == 1 else "are"
    return f"{named}{more} {are} missing; download each missing file, or decompress it"


def _get_numbers(path: Path) -> tuple[int, int]:
    """Return the number of a shard, counted from 0, and the number of shards, or UNKNOWN."""
    match = SHARD.match(path.name)
    return (int(match["number"]), int(match["total"])) if match else UNKNOWN


def _rename(path: Path, number: int) -> str:
    """Return the name of a shard without suffix, with another number of the same width."""
    match = SHARD.match(path.name)
    assert match, path
    return f"{match['split']}-{number:0{len(match['number'])}}-of-{match['total']}"
