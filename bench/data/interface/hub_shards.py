"""Shards of the Hugging Face hub: files such as train-00000-of-00002.parquet hold one split."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

SHARD = re.compile(r"(.+)-(\d+)-of-(\d+)\b")


def get_split(path: Path) -> str | None:
    """Return the split in the name of a shard, or None if the name is not that of a shard."""
    match = SHARD.match(path.name)
    return match[1] if match else None


def are_complete(paths: Sequence[Path]) -> bool:
    """Return whether files, sorted by name, are all shards of one split, each once."""
    found = [m.groups()[1:] if (m := SHARD.match(path.name)) else ("-1", "-1") for path in paths]
    expected = list(enumerate([len(paths)] * len(paths)))
    return [(int(number), int(total)) for number, total in found] == expected
