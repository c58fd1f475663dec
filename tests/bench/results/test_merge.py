"""Merging results folders: complete, free of contradictions and never partial."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from bench.cli.main import main
from bench.errors import UserError
from bench.results.comparison import find_difference, read_reproducible
from bench.results.evaluation_file import read_evaluation, write_evaluation
from bench.results.merge import merge
from bench.results.run_folder import RunFolder
from tests.support.tiny_runs import execute_run, make_tiny_spec
from tests.support.tiny_runs import load_essence as essence_of_files


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return two results folders: seeds 0 and 1, and seeds 1 and 2 with a run that is not done."""
    one, other = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("other")
    for folder, seeds in ((one, (0, 1)), (other, (1, 2))):
        for seed in seeds:
            execute_run(make_tiny_spec(seed=seed, keep_model=seed == 0), folder)
    RunFolder(other, make_tiny_spec(seed=9).id).create()
    return one, other


def copies(machines: tuple[Path, Path], place: Path) -> list[Path]:
    return [Path(shutil.copytree(folder, place / folder.name)) for folder in machines]


def edit(folder: Path, file: str, **changes: object) -> None:
    path = folder / file
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_all_done_runs_are_copied_once(machines: tuple[Path, Path], tmp_path: Path) -> None:
    merged = merge(machines, tmp_path)
    assert sorted(merged.copied) == sorted(make_tiny_spec(seed=s).id for s in (0, 1, 2))
    assert merged.unfinished == [make_tiny_spec(seed=9).id]
    for seed, source in ((0, machines[0]), (2, machines[1])):
        assert essence_of_files(make_tiny_spec(seed=seed), tmp_path) == essence_of_files(
            make_tiny_spec(seed=seed), source
        )
    assert RunFolder(tmp_path, make_tiny_spec(seed=0).id).is_complete(
        make_tiny_spec(seed=0, keep_model=True)
    )
    again = merge(machines, tmp_path)
    assert again.copied == []
    assert len(again.same) == 3


def test_a_contradiction_raises_and_nothing_is_copied(
    machines: tuple[Path, Path], tmp_path: Path
) -> None:
    one, other = copies(machines, tmp_path)
    edit(other / "runs" / make_tiny_spec(seed=1).id, "result.json", accuracy=12.5)
    with pytest.raises(UserError, match=r"result\.accuracy: .* and 12\.5"):
        merge([one, other], tmp_path / "joined")
    assert not list((tmp_path / "joined").glob("runs/*/result.json"))
    with pytest.raises(UserError, match=r"one of them may be wrong; delete one .*--keep-first"):
        merge([one, other], tmp_path / "joined")
    edit(other / "runs" / make_tiny_spec(seed=1).id, "environment.json", device="another CPU")
    with pytest.raises(UserError, match=r" and another CPU round differently, so both can be"):
        merge([one, other], tmp_path / "joined")
    first = merge([one, other], tmp_path / "first", keep_first=True)
    assert first.differing == [make_tiny_spec(seed=1).id]
    again = merge([one, other, other], tmp_path / "again", keep_first=True)
    assert again.differing == first.differing
    assert RunFolder(tmp_path / "first", first.differing[0]).result()["accuracy"] != 12.5
    # Clocks and the memory of the CUDA allocator may differ.
    right = json.loads((one / "runs" / make_tiny_spec(seed=1).id / "result.json").read_text())
    states = [{**state, "cuda_reserved": 1} for state in right["freeze_states"]]
    changed = {**right, "clocks": {"whole": 1.0}, "freeze_states": states}
    edit(other / "runs" / make_tiny_spec(seed=1).id, "result.json", **changed)
    merge([one, other], tmp_path / "joined")


def test_contradicting_outcomes_of_samples_raise(
    machines: tuple[Path, Path], tmp_path: Path
) -> None:
    one, other = copies(machines, tmp_path)
    folder = other / "runs" / make_tiny_spec(seed=1).id
    found = read_evaluation(folder)
    write_evaluation(folder, replace(found, correct=found.correct[::-1]))  # of equal accuracy
    with pytest.raises(UserError, match="the outcomes of the evaluation samples"):
        merge([one, other], tmp_path / "joined")
    (folder / "evaluation.npz").unlink()
    with pytest.raises(UserError, match=r"evaluation\.npz does not exist"):
        merge([one, other], tmp_path / "joined")


@pytest.mark.parametrize(
    ("file", "changes", "words"),
    [
        ("spec.json", {"epochs": 3}, "was altered"),
        ("spec.json", {"new": 3}, r"\w{12}: spec\.json does not fit this release \(.*'new'"),
        ("result.json", {"id": "abcdef012345"}, "abcdef012345"),
        ("result.json", {"freeze_states": 3}, "not the result"),
    ],
)
def test_a_damaged_run_raises_and_nothing_is_copied(
    machines: tuple[Path, Path], tmp_path: Path, file: str, changes: dict[str, object], words: str
) -> None:
    one, other = copies(machines, tmp_path)
    edit(other / "runs" / make_tiny_spec(seed=2).id, file, **changes)
    with pytest.raises(UserError, match=words):
        merge([one, other], tmp_path / "joined")
    assert not list((tmp_path / "joined").glob("runs/*/result.json"))


def test_a_run_of_another_results_version_is_not_called_damaged(
    machines: tuple[Path, Path], tmp_path: Path
) -> None:
    one, _ = copies(machines, tmp_path)
    folder = one / "runs" / make_tiny_spec(seed=1).id
    edit(folder, "environment.json", results_version=3)
    edit(folder, "spec.json", lr=0.5)  # stands for another way to compute the id
    with pytest.raises(UserError, match=r"results version is 3, not 4.* move this folder"):
        merge([one], tmp_path / "joined")


def test_a_run_interrupted_in_the_target_is_completed(
    machines: tuple[Path, Path], tmp_path: Path
) -> None:
    folder = RunFolder(tmp_path, make_tiny_spec(seed=0).id)
    folder.create()
    folder.checkpoint.touch()
    folder.write("failure.json", {"reason": "no"})
    with folder.hold_lock(), pytest.raises(UserError, match="is running; merge again"):
        merge(machines, tmp_path)
    merge(machines, tmp_path)
    assert folder.done
    assert not folder.checkpoint.exists()
    assert not (folder.path / "failure.json").exists()
    there = read_reproducible(machines[0] / "runs" / make_tiny_spec(seed=0).id)
    assert find_difference(read_reproducible(folder.path), there) == ""


def test_the_merge_command(
    machines: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["merge", *map(str, machines), "--results", str(tmp_path / "joined")]
    assert main(command) == 0
    assert f"runs copied into {tmp_path / 'joined'}: 3;" in capsys.readouterr().out
    assert main(["merge", str(tmp_path), "--results", str(tmp_path / "joined")]) == 2
    assert "not a results folder" in capsys.readouterr().err


def test_links_of_wandb_to_deleted_files_are_left_out(
    machines: tuple[Path, Path], tmp_path: Path
) -> None:
    source, run = copies(machines, tmp_path)[0], make_tiny_spec(seed=0).id
    wandb = source / "runs" / run / "wandb"
    (wandb / "offline-run-1").mkdir(parents=True)
    (wandb / "offline-run-1" / "run.wandb").write_text("kept")
    (wandb / "latest-run").symlink_to("offline-run-0")  # deleted by `wandb sync --clean`
    merge([source], tmp_path / "joined")
    copied = tmp_path / "joined" / "runs" / run / "wandb"
    assert sorted(p.name for p in copied.iterdir()) == ["offline-run-1"]
    assert (copied / "offline-run-1" / "run.wandb").read_text() == "kept"
