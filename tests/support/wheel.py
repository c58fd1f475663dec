"""Builder of the wheel: `python -m tests.support.wheel DIR` writes it to a folder."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.support.paths import ROOT

PACKAGES = ("bench", "reports", "strategies", "sweeps")
PARTS = ("LICENSE", "README.md", "freezebench.py", "pyproject.toml", *PACKAGES)


def list_files() -> list[str]:
    """Return the paths of the files from which the wheel is built, relative to the checkout.

    Untracked files are included. Deleted files and files that git ignores are not.
    """
    listed = subprocess.run(
        ["git", "ls-files", "-z", "-co", "--exclude-standard", "--", *PARTS],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    return sorted(name for name in listed.split("\0") if name and (ROOT / name).is_file())


def build_wheel(out: Path) -> Path:
    """Build the wheel in a folder and return its path.

    Build from a copy. In the checkout, setuptools would keep files in the folder build/. It would
    then put them into the next wheel, even if they no longer exist in the source.
    """
    with tempfile.TemporaryDirectory(prefix="freezebench-wheel-") as copy:
        for name in list_files():
            (Path(copy) / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, Path(copy) / name)
        subprocess.run(
            [
                sys.executable,
                "-m",
                "pip",
                "wheel",
                "--quiet",
                "--no-deps",
                "--wheel-dir",
                out,
                copy,
            ],
            check=True,
        )
    return next(out.glob("freezebench-*.whl"))


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    for older in folder.glob("freezebench-*.whl"):
        older.unlink()
    print(build_wheel(folder))
