"""Compact runs: small, without weights, and exact after a merge."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from bench.api import load_results
from bench.cli.main import main
from bench.errors import UserError
from bench.planning.plan import make_plan
from bench.results.compact_form import FILES, pack_run, write_compact_runs
from bench.results.comparison import find_difference, read_reproducible
from bench.results.merge import merge
from bench.results.run_folder import RunFolder
from tests.support.tiny_runs import execute_run, make_tiny_spec

REFERENCE = make_tiny_spec(keep_model=True)
ORACLE = make_tiny_spec("cka_oracle", reference=f"run:{REFERENCE.id}", score_epochs=True)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return results of a reference with weights and of a run that needs it."""
    folder = tmp_path_factory.mktemp("results")
    for spec in (REFERENCE, ORACLE):
        execute_run(spec, folder)
    RunFolder(folder, "0" * 12).create()  # an unfinished run
    return folder


def test_a_folder_with_packed_and_whole_runs_is_merged_whole(results: Path, tmp_path: Path) -> None:
    both = tmp_path / "both"
    shutil.copytree(results / "runs" / ORACLE.id, both / "runs" / ORACLE.id)
    write_compact_runs(results, both)
    (both / f"{ORACLE.id}.tar.xz").unlink()
    merged = merge([both], tmp_path / "joined")
    assert sorted(merged.copied) == sorted([REFERENCE.id, ORACLE.id])


def test_a_round_trip_is_exact(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, joined = tmp_path / "compact", tmp_path / "joined"
    asked = ["export", str(out), "--format", "compact", "--results", str(results)]
    assert main(asked) == 0
    assert "2 runs" in capsys.readouterr().out
    packed = {path.name: path for path in out.iterdir()}
    assert set(packed) == {f"{spec.id}.tar.xz" for spec in (REFERENCE, ORACLE)}
    assert all(path.stat().st_size < 20_000 for path in packed.values())
    written = {name: (path.read_bytes(), path.stat().st_mtime_ns) for name, path in packed.items()}
    assert main(asked) == 0
    assert written == {n: (p.read_bytes(), p.stat().st_mtime_ns) for n, p in packed.items()}
    assert main(["merge", str(out), "--results", str(joined)]) == 0
    for spec in (REFERENCE, ORACLE):
        before, after = (RunFolder(place, spec.id).path for place in (results, joined))
        assert find_difference(read_reproducible(before), read_reproducible(after)) == ""
        for name in set(FILES) - {"spec.json"}:
            assert (before / name).exists() == (after / name).exists(), name
            if (before / name).exists():
                assert (before / name).read_bytes() == (after / name).read_bytes(), name
        assert not (after / "model.safetensors").exists()
        assert json.loads((after / "spec.json").read_text())["paths"] == {}
    assert merge([out], results).copied == []  # agrees with the runs that have weights


def test_a_reference_without_weights_is_executed_only_if_a_run_needs_it(
    results: Path, tmp_path: Path
) -> None:
    out, joined = tmp_path / "compact", tmp_path / "joined"
    main(["export", str(out), "--format", "compact", "--results", str(results)])
    merge([out], joined)
    assert make_plan([REFERENCE, ORACLE], joined).todo == []
    assert make_plan([REFERENCE], joined).todo == [REFERENCE]
    again = ORACLE.with_changes(seed=1)
    assert make_plan([REFERENCE, ORACLE, again], joined).todo == [REFERENCE, again]


def test_a_damaged_or_strange_compact_run_is_an_error(results: Path, tmp_path: Path) -> None:
    path = tmp_path / f"{REFERENCE.id}.tar.xz"
    packed = pack_run(RunFolder(results, REFERENCE.id).path)
    path.write_bytes(packed[: len(packed) // 2])
    with pytest.raises(UserError, match=r"tar\.xz cannot be read .*export it again"):
        merge([tmp_path], tmp_path / "joined")
    with tarfile.open(path, "w:xz") as archive:
        archive.addfile(tarfile.TarInfo("../../result.json"), io.BytesIO())
    with pytest.raises(UserError, match=r"contains \.\./\.\./result\.json"):
        merge([tmp_path], tmp_path / "joined")
    path.unlink()
    path.mkdir()
    with pytest.raises(UserError, match=r"tar\.xz cannot be read .*export it again"):
        merge([tmp_path], tmp_path / "joined")
    assert not (tmp_path / "joined").exists()


def write_changed(path: Path, results: Path, change: Callable[[Path], object]) -> None:
    """Write the compact form of a run after a change to its folder."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(shutil.copytree(RunFolder(results, ORACLE.id).path, f"{place}/run"))
        change(folder)
        with tarfile.open(path, "w:xz") as archive:
            for file in sorted(folder.iterdir()):
                if file.name in FILES:
                    archive.add(file, file.name)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda folder: (folder / "result.json").unlink(), "contains no result.json; export it"),
        (lambda folder: (folder / "result.json").write_text("{}"), "export it again, or remove"),
        (lambda folder: (folder / "epochs.jsonl").write_text("?"), "export it again, or remove"),
    ],
)
def test_a_fault_in_a_compact_run_names_its_file(
    results: Path, tmp_path: Path, change: Callable[[Path], object], words: str
) -> None:
    path = tmp_path / f"{ORACLE.id}.tar.xz"
    write_changed(path, results, change)
    with pytest.raises(UserError) as error:
        merge([tmp_path], tmp_path / "joined")
    assert str(error.value).startswith(str(path))
    assert words in str(error.value)
    assert tempfile.gettempdir() + "/freezebench-merge" not in str(error.value)


def test_a_contradiction_names_the_compact_file(results: Path, tmp_path: Path) -> None:
    def change(folder: Path) -> None:
        file = folder / "result.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), "accuracy": 1.0}))

    path = tmp_path / f"{ORACLE.id}.tar.xz"
    write_changed(path, results, change)
    with pytest.raises(UserError, match="has different results in") as error:
        merge([tmp_path], results)
    assert f"{RunFolder(results, ORACLE.id).path} and {path} (" in str(error.value)


def test_later_timing_is_exported_and_added_to_a_merged_run(results: Path, tmp_path: Path) -> None:
    timed = Path(shutil.copytree(results, tmp_path / "timed"))
    merge([results], tmp_path / "joined")
    timing = RunFolder(timed, ORACLE.id).path / "retime.json"
    timing.write_text("{}")
    write_compact_runs(timed, tmp_path / "compact")
    merge([tmp_path / "compact"], tmp_path / "joined")
    assert (RunFolder(tmp_path / "joined", ORACLE.id).path / "retime.json").read_text() == "{}"


def test_a_file_in_place_of_a_folder_is_an_error(results: Path, tmp_path: Path) -> None:
    write_compact_runs(results, tmp_path)
    file = tmp_path / f"{REFERENCE.id}.tar.xz"
    with pytest.raises(UserError, match=f"is a file; give its folder, {tmp_path}"):
        merge([file], tmp_path / "joined")


def test_a_run_recorded_before_an_option_was_added_agrees_with_a_later_one(
    results: Path, tmp_path: Path
) -> None:
    older = tmp_path / "older"
    merge([results], older)
    file = RunFolder(older, ORACLE.id).path / "spec.json"
    spec = json.loads(file.read_text())
    del spec["score_samples"]
    file.write_text(json.dumps(spec))
    assert ORACLE.id in merge([older], results).same


def test_a_copy_of_a_run_is_not_a_further_run(results: Path, tmp_path: Path) -> None:
    copied = Path(shutil.copytree(results, tmp_path / "results"))
    run = next(path for path in sorted((copied / "runs").iterdir()) if (path / FILES[-1]).exists())
    shutil.copytree(run, run.with_name(f"{run.name}_old"))
    for read in (load_results, partial(write_compact_runs, out=tmp_path / "out")):
        with pytest.raises(UserError, match=rf"{run.name}_old: spec.json belongs to run"):
            read(copied)


def test_a_folder_without_finished_runs_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "results" / "runs").mkdir(parents=True)
    out = tmp_path / "out"
    command = ["export", str(out), "--format", "compact", "--results", str(tmp_path / "results")]
    assert main(command) == 2
    assert "there is no finished run in its folder `runs`" in capsys.readouterr().err
