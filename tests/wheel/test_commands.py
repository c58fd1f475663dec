"""The installed package in an empty folder, without a checkout: Table 2, Slurm and the API."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.slurm.run import prepare_slurm
from tests.support.paths import ROOT
from tests.support.slurm_cluster import Cluster
from tests.wheel.conftest import Command

SHORT = ("--seeds", "1", "--epochs", "1", "--train-limit", "32")
TINY = """title = "Two runs"
[grid]
models = ["resnet50"]
datasets = ["cifar10"]
seeds = [0, 1]
[[methods]]
name = "full"
"""


def read_place(execute: Command) -> Path:
    """Return the folder that the environment imports bench from."""
    done = execute("python", "-c", "import bench; print(bench.__path__[0])")
    return Path(done.stdout.strip()).parent


def test_the_command_uses_the_installed_files(execute: Command, environment: Path) -> None:
    assert read_place(execute).is_relative_to(environment)
    done = execute("freezebench", "--version")
    assert done.returncode == 0, done.stderr
    for what in ("strategies", "sweeps", "profiles"):
        done = execute("freezebench", "list", what)
        assert done.returncode == 0, done.stderr
        assert str(ROOT) not in done.stdout


def test_an_empty_folder_gets_table_2(execute: Command, tmp_path: Path) -> None:
    done = execute("freezebench", "sweep", "table2", *SHORT)
    assert done.returncode == 0, done.stdout + done.stderr
    results = tmp_path / "empty folder" / "results"
    table = (results / "reports" / "laptop" / "table2.md").read_text()
    for method in ("full", "smartfrz", "autofreeze", "linear"):
        assert method in table.lower()
    records = [json.loads(p.read_text()) for p in (results / "runs").glob("*/environment.json")]
    assert len(records) == 56
    done = execute("freezebench", "page", "table2", *SHORT)
    assert done.returncode == 0, done.stderr
    assert list(results.rglob("*.html"))


def test_python_imports_the_api(execute: Command) -> None:
    code = "from bench.api import Freezing, load_results; from strategies.base import Strategy"
    done = execute("python", "-c", code)
    assert done.returncode == 0, done.stderr


def test_a_missing_cluster_file_names_the_command_that_creates_it(
    execute: Command, tmp_path: Path
) -> None:
    done = execute("freezebench", "sweep", "table2", *SHORT, "--launcher", "slurm")
    assert done.returncode == 2
    command = done.stderr.split("`")[1].split()
    assert command[0] == "cp"
    assert "bench" in Path(command[1]).parts
    assert Path(command[1]).is_file()


@pytest.fixture
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Start Slurm with one node in the default partition, or skip the test with the reason."""
    if reason := prepare_slurm():
        pytest.skip(reason)
    base = tmp_path_factory.mktemp("slurm")
    for folder in base.parents:  # munged demands that everyone can reach its socket
        folder.chmod(folder.stat().st_mode | 0o111)
        if folder == Path(tempfile.gettempdir()):
            break
    made = Cluster(base, nodes=1)
    try:
        made.up()
        yield made
    finally:
        made.down()


def test_slurm_jobs_need_no_checkout(
    execute: Command, cluster: Cluster, environment: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "empty folder"
    (folder / "tiny.toml").write_text(TINY)
    shutil.copy(
        read_place(execute) / "bench/launch/slurm/cluster.example.toml", folder / "cluster.toml"
    )
    words = ("tiny.toml", "--epochs", "1", "--train-limit", "32")
    done = execute("freezebench", "sweep", *words, "--launcher", "slurm", "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    scripts = "".join(p.read_text() for p in folder.rglob("*.sh"))
    assert str(environment / "bin" / "python") in scripts
    assert f"{ROOT}/" not in scripts.replace(f"{environment}/", "")
    done = execute("freezebench", "status", *words, "--watch", "--every", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    runs = list(folder.glob("results/runs/*/result.json"))
    assert len(runs) == 2, "".join(p.read_text() for p in folder.rglob("*.err"))
    code = json.loads((runs[0].parent / "environment.json").read_text())["commit"]
    assert code.startswith("installed+")
