"""Snapshot of the code for jobs: its contents, and that later edits do not change it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bench.errors import UserError
from bench.launch.slurm import code_snapshot
from bench.launch.slurm.code_snapshot import copy_inputs, snapshot_code
from bench.machine.environment import RECORDED_COMMIT
from bench.spec import Spec
from bench.training.input_check import check_unchanged
from tests.support.tiny_runs import make_tiny_spec


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Create a small repository and use it in place of the project."""
    root = tmp_path / "checkout"
    for name in (
        "bench/training/loop.py",
        "strategies/full.py",
        "sweeps/table.toml",
        "tests/test_it.py",
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"# {name}\n")
    (root / "pyproject.toml").write_text("")
    (root / "reports").mkdir()
    (root / "reports" / "table.py").write_text("")
    (root / ".gitignore").write_text("*.pyc\n")
    git(root, "init", "-q")
    commit(root)
    monkeypatch.setattr(code_snapshot, "PROJECT", root)
    return root


def git(root: Path, *arguments: str) -> None:
    author = ["-c", "user.name=t", "-c", "user.email=t@t"]
    subprocess.run(["git", "-C", str(root), *author, *arguments], check=True)


def commit(root: Path) -> None:
    git(root, "add", "-A")
    git(root, "commit", "-qm", "change")


def test_the_commit_is_copied_and_later_edits_do_not_change_the_copy(
    checkout: Path, tmp_path: Path
) -> None:
    first = snapshot_code(tmp_path / "results", dirty=False)
    assert (first.path / "bench/training/loop.py").read_text() == "# bench/training/loop.py\n"
    assert not (first.path / "tests").exists()
    assert (first.path / "COMMIT").read_text() == first.commit
    assert snapshot_code(tmp_path / "results", dirty=False) == first
    (checkout / "bench/training/loop.py").write_text("edited")
    commit(checkout)
    second = snapshot_code(tmp_path / "results", dirty=False)
    assert second.commit != first.commit
    assert (first.path / "bench/training/loop.py").read_text() == "# bench/training/loop.py\n"
    assert (second.path / "bench/training/loop.py").read_text() == "edited"


@pytest.mark.parametrize("name", ["bench/training/loop.py", "strategies/new.py"])
def test_uncommitted_changes_are_copied_only_with_dirty(
    name: str, checkout: Path, tmp_path: Path
) -> None:
    clean = snapshot_code(tmp_path, dirty=False)
    (checkout / name).write_text("edited")
    with pytest.raises(UserError, match=rf"{name}.*--dirty"):
        snapshot_code(tmp_path, dirty=False)
    changed = snapshot_code(tmp_path, dirty=True)
    assert changed.commit.startswith(clean.commit + "+")
    assert (changed.path / name).read_text() == "edited"
    (checkout / name).write_text("edited again")
    assert snapshot_code(tmp_path, dirty=True).commit != changed.commit
    # Files that a run never imports may differ from the commit.
    git(checkout, "checkout", "-q", ".")
    (checkout / name).unlink(missing_ok=True)
    git(checkout, "checkout", "-q", ".")
    (checkout / "tests/test_it.py").write_text("edited")
    assert snapshot_code(tmp_path, dirty=False) == clean


def test_a_run_reads_a_copy_of_its_predictor(tmp_path: Path) -> None:
    spec = make_tiny_spec("smartfrz")
    own = code_snapshot.CodeSnapshot("abc", tmp_path / "slurm" / "code" / "abc")
    sent = copy_inputs(spec, own)
    assert sent.id == spec.id
    copy = Path(sent.paths["predictor"])
    assert copy.is_relative_to(tmp_path)
    assert copy.read_bytes() == Path(spec.paths["predictor"]).read_bytes()
    check_unchanged(sent)
    copy.write_bytes(b"something else")
    with pytest.raises(UserError, match=r"predictor.*has changed"):
        check_unchanged(sent)


def test_relative_paths_of_data_and_models_work_in_the_folder_of_a_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bert").mkdir()
    own = code_snapshot.CodeSnapshot("abc", tmp_path / "slurm" / "code" / "abc")
    for model, data, sent_model, sent_data in (
        ("resnet18", "folder:imgs", "resnet18", f"folder:{tmp_path}/imgs"),
        (
            "hf:bert",
            "texts:a.csv#text,label",
            f"hf:{tmp_path}/bert",
            f"texts:{tmp_path}/a.csv#text,label",
        ),
        ("hf:google/bert", "texts:/b.csv", "hf:google/bert", "texts:/b.csv"),
        ("laptop_bert", "datasets:ag_news", "laptop_bert", "datasets:ag_news"),
        ("vgg11", "glyphs:few", "vgg11", "glyphs:few"),
    ):
        spec = Spec(model=model, data=data, lr=0.1)
        sent = copy_inputs(spec, own)
        assert (sent.model, sent.data) == (sent_model, sent_data)
        assert sent.id == spec.id


def test_the_commit_of_a_snapshot_is_not_that_of_the_repository_around_it(tmp_path: Path) -> None:
    here = snapshot_code(tmp_path / "results", dirty=True)
    git(tmp_path, "init", "-q")
    (tmp_path / "file").write_text("")
    commit(tmp_path)
    assert read_commit_of(here.path) == here.commit
    # A copy without the COMMIT file, like an installed package, has no commit.
    shutil.copytree(here.path, tmp_path / "env", ignore=shutil.ignore_patterns(RECORDED_COMMIT))
    assert read_commit_of(tmp_path / "env") == ""


def read_commit_of(root: Path) -> str:
    script = "import bench.machine.environment as e; print(e.__file__, e.get_commit())"
    file, commit = subprocess.run(
        [sys.executable, "-c", script], env={"PYTHONPATH": str(root)}, cwd=root.parent,
        capture_output=True, text=True, check=True,
    ).stdout.rstrip("\n").split(" ")  # fmt: skip
    assert file == str(root / "bench/machine/environment.py")
    return commit
