"""The Dockerfile and freezebench.def have the same steps, which work in a fresh Debian."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.paths import ROOT

CONTAINER = ROOT / "container"
DOCKERFILE = (CONTAINER / "Dockerfile").read_text()
DEFINITION = (CONTAINER / "freezebench.def").read_text()
DEPENDENCIES = "/opt/dependencies"


def find_copies() -> tuple[list[str], str]:
    """Return the sources and the target of the Dockerfile's COPY."""
    *sources, target = re.search(r"^COPY (.+)$", DOCKERFILE, re.MULTILINE)[1].split()
    return sources, target


def find_step() -> str:
    """Return the command of the Dockerfile's RUN."""
    return re.search(r"^RUN (.+)$", DOCKERFILE, re.MULTILINE)[1]


def test_both_images_have_the_same_base_files_and_step() -> None:
    sources, target = find_copies()
    section = DEFINITION.split("%files")[1].split("%post")[0]
    assert [line.split() for line in section.strip().splitlines()] == [[s, target] for s in sources]
    base = re.search(r"^FROM (.+)$", DOCKERFILE, re.MULTILINE)[1]
    assert f"From: {base}\n" in DEFINITION
    post = DEFINITION.split("%post")[1].split("%runscript")[0]
    assert post.strip().splitlines()[-1].strip() == find_step()


@pytest.fixture
def debian(tmp_path: Path) -> Iterator[Path]:
    """Create a fresh Debian in a folder, or skip the test with the reason."""
    if sys.version_info[:2] != (3, 11):
        pytest.skip("Debian's Python cannot use the packages of this environment")
    if os.geteuid() or shutil.which("apt-get") is None:
        pytest.skip("a fresh Debian needs root and apt-get")
    if shutil.which("debootstrap") is None:
        install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "debootstrap"]
        for command in (["apt-get", "update", "-qq"], install):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"debootstrap is not available: {done.stderr.strip()}")
    base = re.search(r"^FROM debian:(\w+)-slim$", DOCKERFILE, re.MULTILINE)[1]
    root = tmp_path / "debian"
    made = subprocess.run(
        ["debootstrap", "--variant=minbase", base, str(root)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert made.returncode == 0, made.stdout[-2000:] + made.stderr
    with ExitStack() as mounts:
        for source, target in (
            ("/proc", "proc"), ("/dev", "dev"),
            (sysconfig.get_path("purelib"), DEPENDENCIES.lstrip("/")),
        ):  # fmt: skip
            (root / target).mkdir(parents=True, exist_ok=True)
            done = subprocess.run(
                ["mount", "--bind", source, str(root / target)],
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            if done.returncode:
                pytest.skip(f"mount is not permitted: {done.stderr.strip()}")
            mounts.callback(subprocess.run, ["umount", str(root / target)], check=True)
        yield root


def link_dependencies(debian: Path) -> str:
    """Link the packages of this environment, but not freezebench and pip, into a folder of Debian.

    Returns the folder for PYTHONPATH, where pip finds what is installed.
    """
    folder = "/opt/linked"
    (debian / folder.lstrip("/")).mkdir()
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        if not re.match(r"pip\b|.*freezebench|__pycache__|.*\.pth$", entry.name):
            (debian / folder.lstrip("/") / entry.name).symlink_to(f"{DEPENDENCIES}/{entry.name}")
    return folder


def test_the_steps_work_in_a_fresh_debian(debian: Path, wheel: Path) -> None:
    """Let pip use the dependencies of this environment, because downloading them takes minutes."""
    sources, target = find_copies()
    place = debian / target.lstrip("/")
    place.mkdir(parents=True)
    for source in sources:
        shutil.copy(wheel if source.endswith(".whl") else ROOT / source, place)
    variables = {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "PYTHONPATH": link_dependencies(debian),
        "PIP_NO_INDEX": "1",  # fail if a dependency is missing or has another version than pinned
        "OMP_NUM_THREADS": "1",
    }

    def enter(command: str) -> str:
        done = subprocess.run(
            ["chroot", str(debian), "sh", "-c", command],
            env=variables, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout

    assert "freezebench 0." in enter(find_step())
    assert not place.exists()
    installed = next((debian / "opt/freezebench/lib").glob("python3*/site-packages/bench"))
    assert installed.is_dir()
    run = (
        "freezebench run --model laptop_resnet --data digits10 --resolution 24 --lr 0.05 "
        "--epochs 1 --train-limit 64"
    )
    assert "accuracy" in enter(f"mkdir -p /work && cd /work && {run}")
