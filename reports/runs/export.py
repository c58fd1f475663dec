"""Tidy tables of all runs in a results folder: one table of runs and one of decisions."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from bench.errors import UserError
from bench.files import explain_errors, read_json
from bench.results.decisions import FILE, decode_layers, read_decisions
from bench.results.run_folder import check_owner
from bench.revisions import RESULTS_VERSION
from reports.runs.run_energy import ENERGY
from reports.runs.run_table import DONE, MENDS, NUMBERS, REPLAYED, Reader

SCHEMA = 2  # increase it with every change of the columns
OLDEST = 3  # results of older versions are refused
Kind = Literal["str", "Int64", "float64", "boolean"]


@dataclass(frozen=True)
class ExportColumn:
    """Column of an exported table: its pandas type, and its meaning with the unit."""

    kind: Kind
    meaning: str


def _text(meaning: str) -> ExportColumn:
    return ExportColumn("str", meaning)


def _whole(meaning: str) -> ExportColumn:
    return ExportColumn("Int64", meaning)


def _number(meaning: str) -> ExportColumn:
    return ExportColumn("float64", meaning)


def _flag(meaning: str) -> ExportColumn:
    return ExportColumn("boolean", meaning)


RUNS: Mapping[str, ExportColumn] = {
    "schema_version": _whole("version of these columns"),
    "run": _text("id of the run"),
    "cell": _text("id shared by the runs that differ in their seed only"),
    "results_version": _whole(
        "results version of the run, missing without environment.json; compare only runs of one "
        "version"
    ),
    "model": _text("model by name"),
    "data": _text("data set by name"),
    "strategy": _text("strategy by name"),
    "options": _text("options of the strategy that differ from their defaults, as JSON"),
    "seed": _whole("random seed"),
    "epochs": _whole("planned passes over the training set"),
    "batch_size": _whole("samples per step"),
    "lr": _number("highest learning rate"),
    "optimizer": _text("optimizer"),
    "evaluate_on": _text("split used for evaluation: test or validation"),
    "matched": _flag("whether the run was given the cost of another method as its budget"),
    "settings": _text("all other fields of the run, as JSON"),
    "contents": _text("hashes of the files that the run reads (data, weights, predictor), as JSON"),
    "state": _text("done, diverged, failed or unfinished; only done runs have all numbers"),
    "reason": _text("why a run diverged or failed"),
    "metric": _text("name of the metric whose score is in the column `accuracy`"),
    "accuracy": _number(
        "score on the evaluation split: accuracy in percent, or the score of another metric in "
        "points"
    ),
    "steps": _number("steps taken"),
    "steps_per_epoch": _number("steps of one epoch"),
    "layers": _whole("number of layers, head included"),
    "frozen_layers": _whole("number of layers that are frozen at the end"),
    "exact_forward": _number("FLOPs of the forward passes, exact convention"),
    "exact_backward": _number("FLOPs of the backward passes, exact convention"),
    "exact_total": _number("training FLOPs, exact convention, without decisions"),
    "exact_full": _number("FLOPs of full training for the planned epochs, exact convention"),
    "paper_forward": _number("FLOPs of the forward passes, the paper's convention"),
    "paper_backward": _number("FLOPs of the backward passes, the paper's convention"),
    "paper_total": _number("training FLOPs, the paper's convention, without decisions"),
    "paper_full": _number("FLOPs of full training for the planned epochs, the paper's convention"),
    "executed_total": _number(
        "`exact_total` plus what fused attention computes again; missing in older results"
    ),
    "decide_flops": _number("FLOPs of the strategy's own work"),
    "train_s": _number("wall time inside training steps, seconds"),
    "decide_s": _number("wall time of decisions, seconds"),
    "cpu_train_s": _number("CPU time inside training steps, seconds"),
    "cpu_decide_s": _number("CPU time of decisions, seconds"),
    "replayed": _number(
        "replayed time (`freezebench retime`) divided by that of full training; missing if not "
        "measured"
    ),
    "energy_j": _number("energy of the device in training, joules; missing if not measured"),
    "idle_watts": _number("power of the device before training, watts; missing if not measured"),
    "saved_bytes": _number("largest number of bytes saved for the backward pass"),
    "saved_bytes_mean": _number("mean over the steps of the bytes saved for the backward pass"),
    "state_bytes": _number("largest number of bytes of weights, gradients and optimizer state"),
    "cuda_allocated": _number("peak of the CUDA allocator, bytes; missing on a CPU"),
    "cuda_reserved": _number("peak of the memory that the CUDA allocator held, bytes"),
    "resumed": _flag("whether the run was interrupted and continued"),
    "slowed": _flag("whether the run probably shared its CPU, so its time is not comparable"),
    "device": _text("device and threads; compare times of one device only"),
    "commit": _text("commit of the code"),
}
DECISIONS: Mapping[str, ExportColumn] = {
    "schema_version": _whole("version of these columns"),
    "run": _text("id of the run"),
    "step": _whole("finished steps when the strategy decided; 0 is before training"),
    "epoch": _number("`step` in epochs"),
    "layer": _whole("index of the layer, from the input"),
    "name": _text("name of the layer"),
    "freeze": _flag("true: the layer is to be frozen; false: to train"),
    "changed": _flag("whether the decision changes the state of the layer"),
    "applied": _flag("false for decisions after the last step, which are only recorded"),
    "score": _number("number that the strategy compared; missing if it records none"),
    "threshold": _number("number that it compared the score with"),
}
_SPEC = ("model", "data", "seed", "epochs", "batch_size", "lr", "optimizer", "evaluate_on")
_OTHERS = ("strategy", "options", "match", "contents")
_APART = (*_SPEC, "id", "cell", "strategy", "options", "contents", "paths", "keep_model")


@dataclass(frozen=True)
class Results:
    """Frames of a results folder. `RUNS` and `DECISIONS` describe their columns.

    runs: one row per run.
    decisions: one row per layer and freezing stage at which a strategy decided. Strategies that
    switch often record only which layers are frozen. The decisions of these strategies have one row
    per layer that changed.
    """

    runs: pd.DataFrame
    decisions: pd.DataFrame


def read_results(results: Path) -> Results:
    """Return the frames of all runs in a results folder.

    Raises UserError if the folder has no run, a file is damaged, or the results version of a run is
    not from OLDEST to RESULTS_VERSION.
    """
    with explain_errors(results):
        folders = sorted(
            {
                path.parent
                for name in ("spec", "result")
                for path in results.glob(f"runs/*/{name}.json")
            }
        )
    if not folders:
        raise UserError(f"{results}: there is no run in its folder `runs`; check the path")
    specs = {folder: _read_spec(folder) for folder in folders}
    for folder, spec in specs.items():
        check_owner(folder, "spec.json", spec["id"])
    reader = Reader(results)
    frame = reader.read_runs({k: s[k] for k in ("id", "cell", "seed")} for s in specs.values())
    measured = {str(row["id"]): row for row in frame.to_dict("records")}
    rows = []
    decisions: list[dict[str, Any]] = []
    for folder, spec in specs.items():
        row = {str(key): value for key, value in measured[spec["id"]].items()}
        result = read_json(folder / "result.json") if (folder / "result.json").exists() else {}
        rows.append(_make_run(spec, row, result))
        if row["state"] == DONE:
            decisions += _list_decisions(folder, spec["id"], result)
    return Results(make_frame(rows, RUNS), make_frame(decisions, DECISIONS))


def make_frame(rows: list[dict[str, Any]], columns: Mapping[str, ExportColumn]) -> pd.DataFrame:
    """Return rows as a frame with exactly these columns and their types."""
    frame = pd.DataFrame([_escape_texts(row) for row in rows], columns=list(columns))
    return frame.astype({name: column.kind for name, column in columns.items()})


def _escape_texts(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row whose texts are valid UTF-8. Names of files and folders need not be valid."""
    return {
        key: value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value
        for key, value in row.items()
    }


def _read_spec(folder: Path) -> dict[str, Any]:
    """Return the spec of a run with its `results_version`.

    Raises UserError if the version is not from OLDEST to RESULTS_VERSION. The version is None
    without environment.json. Users may delete a damaged environment.json (see MENDS).
    """
    spec = read_json(folder / "spec.json")
    environment = folder / "environment.json"
    mend = MENDS[environment.name]
    made_by = read_json(environment, mend).get("results_version") if environment.exists() else None
    if made_by is not None and type(made_by) is not int:
        raise UserError(f"{environment}: results_version is {made_by!r}, not an integer; {mend}")
    if environment.exists() and (made_by is None or not OLDEST <= made_by <= RESULTS_VERSION):
        raise UserError(
            f"{folder}: its results version is {made_by or 'unknown'}, but this program reads "
            f"versions {OLDEST} to {RESULTS_VERSION}; move the folder away, or use the release of "
            "freezebench that made it"
        )
    try:
        needed = {key: spec[key] for key in ("id", "cell", *_SPEC, *_OTHERS)}
        return {**spec, "results_version": made_by} | needed
    except KeyError as error:
        raise UserError(f"{folder / 'spec.json'} has no {error}; delete its folder") from None


def _make_run(spec: dict[str, Any], row: dict[str, Any], result: dict[str, Any]) -> dict[str, Any]:
    flops, layers = result.get("flops", {}), result.get("layers", [])
    others = {key: value for key, value in spec.items() if key not in (*_APART, "results_version")}
    return {
        **{key: row[key] for key in (*NUMBERS, *ENERGY, REPLAYED)},
        **{key: row[key] for key in ("state", "reason", "metric", "resumed", "slowed")},
        **{key: row[key] for key in ("device", "commit")},
        **{key: spec[key] for key in _SPEC},
        "schema_version": SCHEMA,
        "run": spec["id"],
        "cell": spec["cell"],
        "results_version": spec["results_version"],
        "strategy": spec["strategy"].rpartition(":")[2],
        "options": json.dumps(spec["options"], sort_keys=True),
        "matched": bool(spec["match"]),
        "settings": json.dumps(others, sort_keys=True),
        "contents": json.dumps(spec["contents"], sort_keys=True),
        "layers": len(layers) or None,
        "frozen_layers": sum(x["frozen_at_step"] is not None for x in layers) if layers else None,
        "exact_full": flops.get("full_exact", math.nan),
        "paper_full": flops.get("full_paper", math.nan),
    }


def _list_decisions(folder: Path, run: str, result: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the rows of a run's decisions in the order in which the decisions were made."""
    names = [layer["name"] for layer in result["layers"]]
    steps, epoch = result["steps"], result["steps_per_epoch"]
    frozen: set[int] = set()
    for line in read_decisions(folder):
        try:
            for layer, freeze, score, threshold in _expand(line, frozen):
                yield {
                    "schema_version": SCHEMA,
                    "run": run,
                    "step": line["step"],
                    "epoch": line["step"] / epoch,
                    "layer": layer,
                    "name": names[layer],
                    "freeze": freeze,
                    "changed": freeze != (layer in frozen),
                    "applied": line["step"] < steps,
                    "score": score,
                    "threshold": threshold,
                }
                (frozen.add if freeze else frozen.discard)(layer)
        except (KeyError, IndexError, TypeError) as error:
            raise UserError(
                f"{folder / FILE} is damaged ({error!r}); delete its folder to execute "
                "the run again"
            ) from None


def _expand(
    line: Mapping[str, Any], frozen: set[int]
) -> list[tuple[int, bool, float | None, float | None]]:
    """Return layer, decision, score and threshold of each layer for one line of decisions.jsonl.

    A full line gives the one layer that the strategy judged. A compact line gives the layers that
    changed, without score and threshold (see bench.results.decisions).
    line: one line of the decisions file.
    frozen: layers that were frozen before.
    """
    if "frozen" not in line:
        return [(line["layer"], line["freeze"], line["score"], line["threshold"])]
    after = decode_layers(line["frozen"])
    return [(layer, layer in after, None, None) for layer in sorted(after ^ frozen)]
