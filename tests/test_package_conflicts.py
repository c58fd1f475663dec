"""Errors for other packages that use the names bench, reports, strategies or sweeps."""

from __future__ import annotations

import base64
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT


def run_python(
    folder: Path, *words: str, path: tuple[Path, ...] = ()
) -> subprocess.CompletedProcess[str]:
    """Run Python in a folder, with some folders at the start of its path."""
    return subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path))},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("name", ["bench", "reports", "strategies"])
def test_the_command_names_the_package_in_the_way(name: str, tmp_path: Path) -> None:
    (tmp_path / "lib" / name).mkdir(parents=True)
    (tmp_path / "lib" / name / "__init__.py").write_text("raise SystemExit('foreign code ran')\n")
    done = run_python(tmp_path, "-m", "freezebench", "--version", path=(tmp_path / "lib", ROOT))
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert f"{tmp_path}/lib/{name}/__init__.py instead of {ROOT}/{name}" in done.stderr


def test_a_folder_of_that_name_without_code_is_not_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "lib" / "reports").mkdir(parents=True)
    done = run_python(tmp_path, "-m", "freezebench", "--version", path=(tmp_path / "lib", ROOT))
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["reports", "strategies"])
def test_the_api_names_the_package_in_the_way(name: str, tmp_path: Path) -> None:
    """Put a package next to the training script, whose folder comes first on Python's path."""
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").write_text("")
    (tmp_path / "train.py").write_text("from bench.api import Freezing\n")
    done = run_python(tmp_path, "train.py", path=(ROOT,))
    assert done.returncode != 0
    last = done.stderr.splitlines()[-1]
    assert last.startswith("bench.errors.UserError") or last.startswith("UserError")
    assert f"{tmp_path}/{name}/__init__.py instead of {ROOT}/{name}" in last


def install(site: Path, name: str, files: dict[str, str]) -> None:
    """Write files and their record, as pip does."""
    rows = []
    for path, text in files.items():
        (site / path).parent.mkdir(parents=True, exist_ok=True)
        (site / path).write_text(text)
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest())
        rows.append(f"{path},sha256={digest.decode().rstrip('=')},{len(text)}")
    facts = site / f"{name}-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (facts / "RECORD").write_text("\n".join(rows) + "\n")


OURS = {
    "freezebench.py": (ROOT / "freezebench.py").read_text(),
    "bench/__init__.py": '"""Ours."""\n',
    "bench/cli/main.py": "",
    "reports/__init__.py": '"""Ours."""\n',
    "strategies/__init__.py": '"""Ours."""\n',
    "sweeps/table1.toml": "",
}


@pytest.mark.parametrize(
    ("theirs", "named"),
    [
        ({"bench/__init__.py": "# theirs"}, "bench/__init__.py"),
        ({"bench/timing.py": ""}, "bench/timing.py"),
        ({"strategies/trade/__init__.py": ""}, "strategies/trade"),
        ({"sweeps/wind.toml": ""}, "sweeps/wind.toml"),
        ({"other/__init__.py": ""}, ""),
    ],
)
@pytest.mark.parametrize("later", [True, False])
def test_a_package_installed_into_the_same_folders_is_named(
    theirs: dict[str, str], named: str, later: bool, tmp_path: Path
) -> None:
    """Check both orders of installation.

    If freezebench is installed last, its files replace those of the other package with equal names.
    later: the other package is installed last.
    """
    if not later:
        install(tmp_path, "tradekit", theirs)
    install(tmp_path, "freezebench", OURS)
    if later:
        install(tmp_path, "tradekit", theirs)
    replaced = named == "bench/__init__.py" and not later
    done = run_python(
        tmp_path, "-S", "-c", "import freezebench; print(freezebench.find_conflict())",
        path=(tmp_path,),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    wanted = named and not replaced
    assert done.stdout.startswith("the package tradekit 1.0") == bool(wanted), done.stdout
    assert (f"({named})" in done.stdout) == bool(wanted)


def test_files_of_no_package_are_accepted(tmp_path: Path) -> None:
    install(tmp_path, "freezebench", OURS)
    (tmp_path / "strategies" / "mine.py").write_text("")
    (tmp_path / "strategies" / "__pycache__").mkdir()
    done = run_python(
        tmp_path, "-S", "-c", "import freezebench; print(freezebench.find_conflict())",
        path=(tmp_path,),
    )  # fmt: skip
    assert done.stdout == "\n", done.stderr
