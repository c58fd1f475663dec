"""Fixtures of the wheel's tests: the wheel, and an environment that has it but not the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.wheel import build_wheel

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel and return its path."""
    return build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="session")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel into a new environment and return its folder.

    The dependencies come from the environment of the tests, because their installation takes
    minutes. `link_dependencies` leaves the checkout out.
    """
    place = tmp_path_factory.mktemp("installed") / "env"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", place], check=True)
    python = place / "bin" / "python"
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps",
         "--no-index", str(wheel)],
        check=True,
    )  # fmt: skip
    site = Path(sysconfig.get_path("purelib", vars={"base": str(place), "platbase": str(place)}))
    link_dependencies(site, Path(sysconfig.get_path("purelib")))
    return place


def link_dependencies(site: Path, dependencies: Path) -> None:
    """Link each package in the folder `dependencies` into the folder `site`, except freezebench."""
    ours = {"freezebench.py", "bench", "strategies", "reports", "sweeps"}
    for entry in dependencies.iterdir():
        foreign = entry.name not in ours and "freezebench" not in entry.name
        if foreign and entry.name != "__pycache__" and not (site / entry.name).exists():
            (site / entry.name).symlink_to(entry)


@pytest.fixture
def execute(environment: Path, tmp_path: Path) -> Command:
    """Return a function that executes a command of the environment in an empty folder."""
    folder = tmp_path / "empty folder"
    folder.mkdir()
    hidden = ("PYTHONPATH", "FREEZEBENCH_RESULTS", "VIRTUAL_ENV")

    def run(program: str, *words: str) -> subprocess.CompletedProcess[str]:
        variables = {key: value for key, value in os.environ.items() if key not in hidden}
        return subprocess.run(
            [environment / "bin" / program, *words],
            cwd=folder, env={**variables, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
            check=False,
        )  # fmt: skip

    return run
