"""Provenance of a report: its command, commit, libraries and runs."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

from bench.machine.environment import get_commit
from reports.document.profile import Profile

LIBRARIES = ("numpy", "scipy", "pandas", "matplotlib")


def format_provenance(
    frame: pd.DataFrame, profile: Profile, files: Sequence[Path], roles: Sequence[str]
) -> str:
    """Return the provenance that is saved with a report, as JSON text.

    frame: one row per run.
    files: files of the report.
    roles: columns of the frame to include.
    """
    keys = ("id", "cell", *roles, "seed", "state", "reason", "device", "commit")
    values: dict[str, Any] = {
        "command": get_command(),
        "commit": get_commit(),
        "profile": asdict(profile),
        "libraries": {name: version(name) for name in LIBRARIES},
        "files": [file.name for file in files],
        "runs": [{key: run[key] for key in keys} for run in frame.to_dict("records")],
    }
    return json.dumps(values, indent=1, ensure_ascii=False) + "\n"


def get_command() -> str:
    """Return the current command line, with only the file name of the program."""
    return " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])
