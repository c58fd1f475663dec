"""A run's folder as all its processes but the first see it: to be read, never written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from bench.results.run_folder import RunFolder


class ReadOnlyFolder(RunFolder):
    """Writes nothing and deletes nothing."""

    def create(self) -> None:
        """Nothing: the first process makes it."""

    def clear_leftovers(self) -> None:
        """Nothing."""

    def write(self, name: str, values: Mapping[str, Any]) -> None:
        """Nothing."""

    def write_lines(self, name: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Nothing."""

    def remove(self, name: str) -> None:
        """Nothing."""
