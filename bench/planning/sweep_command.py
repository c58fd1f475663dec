"""Arguments of the `freezebench sweep` command that selects the same runs again."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any


def build_command(
    name: str,
    profile: str,
    controls: bool,
    seeds: int,
    files: Mapping[str, str],
    changes: Mapping[str, Any],
) -> str:
    """Return the arguments, quoted for a shell.

    seeds: 0 = those of the sweep.
    """
    words = [name, "--profile", profile, *["--controls"] * controls]
    words += ["--seeds", str(seeds)] * bool(seeds)
    for key, value in changes.items():
        words += [f"--{key.replace('_', '-')}", str(value)]
    for what, path in files.items():
        kind, _, role = what.partition(":")
        option = {"data": "--data-root"}.get(kind, f"--{kind}")
        words += [option, f"{role}={path}" if role else path]
    return shlex.join(words)
