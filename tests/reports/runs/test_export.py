"""Tests of exported results: nothing is lost, old versions are read or refused."""

from __future__ import annotations

import json
import math
import os
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from bench.api import load_results
from bench.cli.main import main
from bench.errors import UserError
from bench.files import read_json
from bench.results.decisions import list_frozen_sets, read_decisions
from bench.revisions import RESULTS_VERSION
from reports.runs.export import DECISIONS, OLDEST, RUNS, SCHEMA
from tests.support.paths import ROOT

# Two runs that version 3 of the code made: autofreeze, and lisa, whose decisions are compact.
VERSION3 = Path(__file__).parent / "version3"
AUTOFREEZE, LISA = "691d679cab4c", "1df6de4d74ea"


def copy_results(place: Path) -> Path:
    return Path(shutil.copytree(VERSION3, place / "results"))


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**read_json(path), **changes}))


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_names_that_are_not_utf_8_are_escaped(kind: str, tmp_path: Path) -> None:
    results = copy_results(tmp_path)
    edit(results / "runs" / LISA / "spec.json", data=os.fsdecode(b"folder:caf\xe9"))
    out = str(tmp_path / "out")
    assert main(["export", out, "--results", str(results), "--format", kind]) == 0
    found = load_results(out).runs.set_index("run").loc[LISA, "data"]
    assert found == r"folder:caf\udce9"


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_a_folder_whose_name_is_not_utf_8_takes_an_export(kind: str, tmp_path: Path) -> None:
    out = tmp_path / os.fsdecode(b"caf\xe9")
    assert main(["export", str(out), "--results", str(VERSION3), "--format", kind]) == 0
    assert set(load_results(out).runs.run) == set(load_results(VERSION3).runs.run)


def test_results_of_version_3_are_read() -> None:
    results = load_results(VERSION3)
    assert list(results.runs) == list(RUNS)
    assert list(results.decisions) == list(DECISIONS)
    rows = results.runs.set_index("run")
    for run in (AUTOFREEZE, LISA):
        result = read_json(VERSION3 / "runs" / run / "result.json")
        row = rows.loc[run]
        assert row.results_version == OLDEST == 3
        assert row.accuracy == result["accuracy"]
        assert row.exact_total == result["flops"]["exact"]["total"]
        assert row.paper_full == result["flops"]["full_paper"]
        assert row.train_s == result["clocks"]["train"]
        assert row.layers == len(result["layers"])
        frozen = [layer for layer in result["layers"] if layer["frozen_at_step"] is not None]
        assert row.frozen_layers == len(frozen) > 0
        assert math.isnan(row.cuda_allocated)
    assert rows.loc[LISA, "strategy"] == "lisa"
    assert json.loads(rows.loc[LISA, "options"]) == {"K": 2}


def test_decisions_of_both_formats_give_the_frozen_layers_of_each_step() -> None:
    decisions = load_results(VERSION3).decisions
    for run in (AUTOFREEZE, LISA):
        lines = read_decisions(VERSION3 / "runs" / run)
        own = decisions[decisions.run == run]
        frozen: set[int] = set()
        found: dict[int, frozenset[int]] = {}
        for row in own.itertuples():
            assert row.changed == (row.freeze != (row.layer in frozen))
            (frozen.add if row.freeze else frozen.discard)(row.layer)
            found[row.step] = frozenset(frozen)
        sets = dict(list_frozen_sets(lines))
        assert found == {step: sets[step] for step in found}
        assert list(found.values())[-1] == list(sets.values())[-1]
    full = read_decisions(VERSION3 / "runs" / AUTOFREEZE)
    own = decisions[decisions.run == AUTOFREEZE]
    for name in ("step", "layer", "name", "freeze"):
        assert own[name].tolist() == [line[name] for line in full]
    assert own.score.fillna(-1).tolist() == [
        -1 if line["score"] is None else line["score"] for line in full
    ]
    last = max(line["step"] for line in full)
    assert own.applied.tolist() == [line["step"] < last for line in full]  # 12 is the last step


@pytest.mark.parametrize("version", [2, None, RESULTS_VERSION + 1])
def test_other_versions_are_refused(version: int | None, tmp_path: Path) -> None:
    results = copy_results(tmp_path)
    edit(results / "runs" / LISA / "environment.json", results_version=version)
    with pytest.raises(UserError, match=f"results version is {version or 'unknown'}, .* 3 to"):
        load_results(results)


@pytest.mark.parametrize("version", ["3", 3.5, True])
def test_a_version_that_is_no_integer_gets_one_line(version: Any, tmp_path: Path) -> None:
    results = copy_results(tmp_path)
    edit(results / "runs" / LISA / "environment.json", results_version=version)
    with pytest.raises(UserError, match=r"results_version is .*, not an integer; delete this file"):
        load_results(results)


def test_a_run_without_its_environment_is_kept_without_a_version(tmp_path: Path) -> None:
    """Delete a damaged environment.json, as its error advises."""
    results = copy_results(tmp_path)
    path = results / "runs" / LISA / "environment.json"
    path.write_text("damaged")
    with pytest.raises(UserError, match="delete this file; the run is kept"):
        load_results(results)
    path.unlink()
    row = load_results(results).runs.set_index("run").loc[LISA]
    assert pd.isna(row.results_version)
    assert row.state == "done"


def test_energy_replayed_time_and_fused_attention_are_exported(tmp_path: Path) -> None:
    results = copy_results(tmp_path)
    folder = results / "runs" / LISA
    flops = read_json(folder / "result.json")["flops"]
    energy = {"gpu": None, "cpu": {"joules": 12.5, "idle_watts": 2.0}}
    edit(folder / "result.json", flops={**flops, "executed": {"total": 7e9}}, energy=energy)
    timing = {"device": "AMD EPYC", "time_ratio": {"median": 0.75}}
    (folder / "retime.json").write_text(json.dumps(timing))
    rows = load_results(results).runs.set_index("run")
    columns = ["executed_total", "energy_j", "idle_watts", "replayed"]
    assert rows.loc[LISA, columns].tolist() == [7e9, 12.5, 2.0, 0.75]
    assert rows.loc[AUTOFREEZE, columns].isna().all()


def test_contents_and_budget_are_exported(tmp_path: Path) -> None:
    results = copy_results(tmp_path)
    edit(results / "runs" / LISA / "spec.json", match=["aaaa"], contents={"data": "ffff"})
    row = load_results(results).runs.set_index("run").loc[LISA]
    assert json.loads(row.contents) == {"data": "ffff"}
    assert json.loads(row.settings)["match"] == ["aaaa"]
    assert row.matched


@pytest.mark.parametrize("key", ["options", "match", "contents"])
def test_a_spec_without_a_field_gets_one_line(key: str, tmp_path: Path) -> None:
    results = copy_results(tmp_path)
    path = results / "runs" / LISA / "spec.json"
    path.write_text(json.dumps({k: v for k, v in read_json(path).items() if k != key}))
    with pytest.raises(UserError, match=f"has no '{key}'; delete its folder"):
        load_results(results)


def test_a_result_without_its_spec_is_an_error(tmp_path: Path) -> None:
    results = copy_results(tmp_path)
    (results / "runs" / LISA / "spec.json").unlink()
    with pytest.raises(UserError, match=rf"{LISA}/spec.json does not exist; delete its folder"):
        load_results(results)


def test_runs_without_a_result_keep_their_row(tmp_path: Path) -> None:
    results = copy_results(tmp_path)
    (results / "runs" / LISA / "result.json").unlink()
    loaded = load_results(results)
    row = loaded.runs.set_index("run").loc[LISA]
    assert row.state == "unfinished"
    assert math.isnan(row.accuracy)
    assert pd.isna(row.frozen_layers)
    assert LISA not in set(loaded.decisions.run)


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_an_export_is_read_back_unchanged(kind: str, tmp_path: Path) -> None:
    results = copy_results(tmp_path)
    (results / "runs" / LISA / "result.json").unlink()
    assert main(["export", str(tmp_path / "out"), "--format", kind, "--results", str(results)]) == 0
    before, after = load_results(results), load_results(tmp_path / "out")
    pd.testing.assert_frame_equal(before.runs, after.runs, check_exact=True)
    pd.testing.assert_frame_equal(before.decisions, after.decisions, check_exact=True)


def test_the_newer_of_two_exports_is_read(tmp_path: Path) -> None:
    results, out = copy_results(tmp_path), tmp_path / "out"
    for kind in ("parquet", "csv"):
        assert main(["export", str(out), "--format", kind, "--results", str(results)]) == 0
        shutil.rmtree(results / "runs" / LISA, ignore_errors=True)
        assert (LISA in set(load_results(out).runs.run)) == (kind == "parquet")


def test_decisions_of_another_export_are_refused(tmp_path: Path) -> None:
    results, out = copy_results(tmp_path), tmp_path / "out"
    ask = ["export", "--format", "csv", "--results", str(results)]
    assert main([*ask, str(out)]) == 0
    shutil.rmtree(results / "runs" / LISA)
    assert main([*ask, str(tmp_path / "other")]) == 0
    shutil.copy(tmp_path / "other" / "runs.csv", out)
    with pytest.raises(UserError, match=r"belongs to another export than runs\.csv"):
        load_results(out)


def test_another_schema_version_is_refused(tmp_path: Path) -> None:
    assert main(["export", str(tmp_path), "--format", "csv", "--results", str(VERSION3)]) == 0
    frame = pd.read_csv(tmp_path / "runs.csv")
    frame.assign(schema_version=SCHEMA + 1).to_csv(tmp_path / "runs.csv", index=False)
    with pytest.raises(UserError, match=f"has schema version {SCHEMA + 1} .* reads version"):
        load_results(tmp_path)


def test_a_folder_without_results_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds neither a folder `runs` nor"):
        load_results(tmp_path)
    (tmp_path / "runs").mkdir()
    with pytest.raises(UserError, match="there is no run"):
        load_results(tmp_path)


def test_the_page_describes_every_column() -> None:
    page = (ROOT / "docs" / "how_to" / "results.md").read_text()
    for columns in (RUNS, DECISIONS):
        rows = [f"| `{name}` | {column.meaning} |" for name, column in columns.items()]
        assert "\n".join(rows) in page


def test_the_notebook_draws_the_accuracy_cost_figure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    monkeypatch.setenv("FREEZEBENCH_RESULTS", str(VERSION3))
    monkeypatch.chdir(tmp_path)
    cells = json.loads((ROOT / "examples" / "accuracy_cost.ipynb").read_text())["cells"]
    names: dict[str, Any] = {}
    for cell in cells:
        if cell["cell_type"] == "code":
            assert not cell["outputs"]
            exec("".join(cell["source"]), names)
    axes = names["axes"]
    drawn = {tuple(point) for artist in axes.collections for point in artist.get_offsets()}
    runs = load_results(VERSION3).runs
    cost = 100 * (runs.exact_total + runs.decide_flops) / runs.exact_full
    assert drawn == set(zip(cost, runs.accuracy, strict=True))
    assert {text.get_text() for text in axes.get_legend().get_texts()} == {"autofreeze", "lisa"}
