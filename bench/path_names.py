"""Names of data sets and models that contain a path, such as folder:PATH."""

from __future__ import annotations

from bench.files import expand_home

KINDS = ("folder", "texts", "hf")


def omit_path(name: str) -> str:
    """Return the name without its path. Run ids hash the contents of the files instead."""
    kind = name.partition(":")[0]
    return kind if kind in KINDS else name


def make_path_absolute(name: str) -> str:
    """Return the name with an absolute path, for use in another folder.

    The name of a repository on the Hugging Face hub, and columns after "#", stay as they are.
    """
    kind, _, rest = name.partition(":")
    if kind not in KINDS or not rest:
        return name
    path = expand_home(rest)
    return name if kind == "hf" and not path.is_dir() else f"{kind}:{path.absolute()}"
