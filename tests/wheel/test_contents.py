"""Contents of the wheel: freezebench.py and all files of the packages except measured runs."""

from __future__ import annotations

import tomllib
import zipfile
from pathlib import Path

from tests.support.paths import ROOT
from tests.support.wheel import PACKAGES, list_files


def test_the_wheel_contains_each_file_of_the_packages_and_no_other(wheel: Path) -> None:
    wanted = {name for name in list_files() if name.startswith(tuple(f"{p}/" for p in PACKAGES))}
    wanted -= {name for name in wanted if name.startswith("reports/measured/") and "/runs/" in name}
    with zipfile.ZipFile(wheel) as file:
        names = {name for name in file.namelist() if ".dist-info/" not in name}
    assert names == {*wanted, "freezebench.py"}
    assert {"bench/py.typed", "reports/py.typed", "strategies/py.typed"} <= names


def test_one_version_is_everywhere(wheel: Path) -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert wheel.name.startswith(f"freezebench-{version}-")
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text()
    assert f"\n## [{version}]" in (ROOT / "CHANGELOG.md").read_text()
