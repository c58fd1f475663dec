"""Entry point of the `freezebench` command: checks that the packages are freezebench's own.

The packages have common names. If another package of such a name is imported instead, Python fails
with an error that does not name the cause, or runs foreign code. So this module imports none of
them before it has checked them.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import locale
import os
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution, distributions
from importlib.util import find_spec
from pathlib import Path

NAME = "freezebench"
HERE = Path(__file__).resolve().parent
PACKAGES = ("bench", "reports", "strategies", "sweeps")


def main() -> int:
    """Check the packages, execute the command line and return the exit status."""
    use_utf8()
    if conflict := find_conflict():
        print(f"error: {conflict}", file=sys.stderr)
        return 2
    from bench.cli.main import main as execute

    return execute()


def use_utf8() -> None:
    """Start Python again in its UTF-8 mode if the locale has another encoding.

    All files of freezebench are UTF-8, and Python reads files in the encoding of the locale before
    version 3.15 (PEP 686). The terminal keeps its encoding. Processes that this one starts inherit
    both settings.
    """
    if sys.flags.utf8_mode or locale.getencoding().lower() in ("utf-8", "utf8"):
        return
    os.environ["PYTHONUTF8"] = "1"
    os.environ.setdefault("PYTHONIOENCODING", f"{locale.getencoding()}:backslashreplace")
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def find_conflict() -> str:
    """Return which other package takes the place of one of freezebench's, and the remedy, or ''.

    bench/siblings.py compares the places of the other packages, once bench is known to be right.
    """
    spec = find_spec("bench")
    places = [Path(place).resolve() for place in (spec and spec.submodule_search_locations) or ()]
    if HERE / "bench" not in places:
        found = (spec and spec.origin) or ", ".join(map(str, places)) or "nowhere"
        return (
            f"Python imports bench from {found} instead of {HERE / 'bench'}; rename the other "
            "bench, or remove its folder from PYTHONPATH"
        )
    try:
        installed = distribution(NAME)
    except PackageNotFoundError:  # a checkout on PYTHONPATH
        return ""
    for path in find_foreign_entries(installed):
        if owner := _find_owner(path):
            package = path.partition("/")[0]
            return (
                f"the package {owner} installs files into {package}/ too ({path}); install "
                f"{NAME} in an environment of its own: python -m venv ENV && "
                f"ENV/bin/pip install {NAME}"
            )
    return ""


def find_foreign_entries(installed: Distribution) -> Iterator[str]:
    """Yield each path in the folders of PACKAGES that differs from the installed wheel.

    Compares the names of the entries, and the contents of each __init__.py. Yields nothing for an
    editable installation, because its files lie elsewhere.
    """
    rows = list(csv.reader((installed.read_text("RECORD") or "").splitlines()))
    hashes = {row[0]: row[1] for row in rows if row and row[0].startswith(PACKAGES)}
    if not hashes or Path(str(installed.locate_file("bench"))).resolve() != HERE / "bench":
        return
    known = {"/".join(path.split("/")[:2]) for path in hashes}
    for name in PACKAGES:
        for entry in sorted((HERE / name).iterdir()):
            path = f"{name}/{entry.name}"
            if entry.name != "__pycache__" and path not in known:
                yield path
        first = f"{name}/__init__.py"
        if first in hashes and hashes[first] != _hash_as_record(HERE / first):
            yield first


def _hash_as_record(path: Path) -> str:
    """Return the hash of a file as wheels record it, or '' if the file is missing."""
    if not path.is_file():
        return ""
    digest = base64.urlsafe_b64encode(hashlib.sha256(path.read_bytes()).digest())
    return f"sha256={digest.decode().rstrip('=')}"


def _find_owner(path: str) -> str:
    """Return name and version of another installed package with files at this path, or ''."""
    for other in distributions():
        name = other.metadata["Name"]
        recorded = other.read_text("RECORD") or other.read_text("installed-files.txt") or ""
        for row in csv.reader(recorded.splitlines()):
            if name != NAME and row and (row[0] == path or row[0].startswith(f"{path}/")):
                return f"{name} {other.version}"
    return ""


if __name__ == "__main__":
    sys.exit(main())
