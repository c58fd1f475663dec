"""Read-only run folder, for all processes of a run but the first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from bench.results.run_folder import RunFolder


class ReadOnlyFolder(RunFolder):
    """Run folder whose methods write and delete nothing."""

    def create(self) -> None:
        """Do nothing; the first process creates the folder."""

    def clear_leftovers(self) -> None:
        """Do nothing."""

    def write(self, name: str, values: Mapping[str, Any]) -> None:
        """Do nothing."""

    def write_lines(self, name: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Do nothing."""

    def remove(self, name: str) -> None:
        """Do nothing."""
