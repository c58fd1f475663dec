"""Table of the wanted runs, one row per run, with their states and measurements.

A wanted run is a mapping with `id`, `cell`, `seed` and the roles that identify a table's rows.
Roles are `model`, `dataset` and `method`, or others such as `window`. Other runs in the results
folder are ignored.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from bench.errors import UserError
from bench.files import read_json
from reports.runs.freeze_history import read_freeze_history
from reports.runs.run_energy import ENERGY, parse_energy
from reports.runs.sample_scores import read_sample_scores

Run = dict[str, Any]
ROLES = ("model", "dataset", "method")

DONE = "done"  # finished with a result
DIVERGED = "diverged"  # finished without a result
FAILED = "failed"  # its last attempt ended in an error
UNFINISHED = "unfinished"  # has a folder but no result.json: running or interrupted
MISSING = "missing"  # has no folder

# Column of the frame: path of its value in result.json. Units: FLOPs, seconds, bytes, percent.
NUMBERS: Mapping[str, tuple[str, ...]] = {
    "accuracy": ("accuracy",),
    "steps": ("steps",),
    "steps_per_epoch": ("steps_per_epoch",),
    "paper_forward": ("flops", "paper", "forward"),
    "paper_backward": ("flops", "paper", "backward"),
    "paper_total": ("flops", "paper", "total"),
    "exact_forward": ("flops", "exact", "forward"),
    "exact_backward": ("flops", "exact", "backward"),
    "exact_total": ("flops", "exact", "total"),
    "executed_total": ("flops", "executed", "total"),
    "decide_flops": ("flops", "decide"),
    "train_s": ("clocks", "train"),
    "decide_s": ("clocks", "decide"),
    "cpu_train_s": ("cpu", "train"),
    "cpu_decide_s": ("cpu", "decide"),
    "saved_bytes": ("memory", "saved_bytes_peak"),
    "saved_bytes_mean": ("memory", "saved_bytes_mean"),
    "state_bytes": ("memory", "state_bytes_peak"),
    "cuda_allocated": ("memory", "cuda_allocated_peak"),
    "cuda_reserved": ("memory", "cuda_reserved_peak"),
}
LATER = ("executed_total",)  # numbers that the results of earlier releases lack
DERIVED = ("time_s", "cpu_s", "memory_bytes", *ENERGY)
# A run on a CPU counts as slowed if wall time × threads / CPU time is above this ratio. The ratio
# is 1.0 to 1.1 for one thread with a core of its own, and 2 with twice as many processes as cores.
# With several threads, idle threads look the same as a shared CPU. Such times are unreliable, so no
# speed-up is claimed from them.
SLOWED = 1.25
UNKNOWN = "unknown device"
# Advice for a damaged file. A finished run need not be deleted if a file other than result.json is
# damaged.
AGAIN = "delete its folder to run it again"
MENDS = {
    "environment.json": "delete this file; the run is kept, but its time is not compared",
    "retime.json": "delete this file; `freezebench retime` writes it again",
}
REPLAYED = "replayed"  # time / full training's time, from retime.json; NaN without this file


class Reader:
    """Reader of the runs of a results folder, which reads each run only once."""

    def __init__(self, results: Path) -> None:
        self.results = results
        self._rows: dict[str, Run] = {}
        self._layers: dict[str, list[Any]] = {}  # by run id: index, name, frozen_at_step
        self._weights: dict[str, list[int]] = {}

    def read_runs(self, wanted: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
        """Return one row per wanted run.

        Columns: the keys of the wanted run, `state`, `reason`, `device`, `commit`, `metric`,
        `resumed`, `slowed`, `samples`, `history`, NUMBERS, DERIVED and REPLAYED. `metric` names the
        measure in `accuracy`. `slowed` tells whether the run shared its CPU. `samples` and
        `history` are functions that read the run's SampleScores and FreezeHistory. Both are None if
        the run is not finished.
        Missing numbers are NaN. Raises UserError that names a damaged file.
        """
        rows = [{**run, **self._row(str(run["id"]))} for run in wanted]
        frame = pd.DataFrame(rows)
        for key in (*NUMBERS, *DERIVED, REPLAYED):
            frame[key] = frame[key].astype(float) if rows else pd.Series(dtype=float)
        return frame

    def read_freeze_steps(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return one row per layer of each finished run.

        Columns: the run's roles and seed, `layer`, `name`, `frozen_at` (in epochs; NaN if the layer
        never froze) and `epochs` (length of the run).
        """
        shared = [key for key in (*ROLES, "seed") if key in frame]
        columns: dict[str, list[Any]] = {
            key: [] for key in (*shared, "layer", "name", "frozen_at", "epochs")
        }
        for run in frame[frame.state == DONE].to_dict("records"):
            self._row(run["id"])
            layers, steps = self._layers[run["id"]], run["steps_per_epoch"]
            for key in shared:
                columns[key] += [run[key]] * len(layers)
            columns["layer"] += [index for index, _, _ in layers]
            columns["name"] += [name for _, name, _ in layers]
            columns["frozen_at"] += [frozen / steps for _, _, frozen in layers]
            columns["epochs"] += [run["steps"] / steps] * len(layers)
        return pd.DataFrame(columns)

    def count_weights(self, run_id: str) -> list[int]:
        """Return the number of weights of each layer of a finished run; the head is the last.

        Norms and biases are not counted. The list is empty for old results without these numbers.
        """
        self._row(run_id)
        return self._weights.get(run_id, [])

    def _row(self, run_id: str) -> Run:
        """Return the row of one run.

        Raises UserError if one of its files is damaged.
        """
        if run_id not in self._rows:
            folder = self.results / "runs" / run_id
            path = folder / "result.json"
            row: Run = {"state": MISSING, "reason": "", "device": "", "commit": "", "metric": ""}
            row |= {"resumed": False, "slowed": False, "samples": None, "history": None}
            row |= {**dict.fromkeys((*NUMBERS, *DERIVED, REPLAYED), math.nan)}
            if path.exists():
                result = _object(path)
                made_on, threads = _read_environment(folder)
                row |= made_on | _parse_result(result, path, run_id, threads)
                row |= {REPLAYED: _read_replayed(folder)}
                if row["state"] == DONE:
                    # Read when needed, because the samples of many runs would fill the memory.
                    which = (folder, row["metric"], row["accuracy"])
                    row["samples"] = partial(read_sample_scores, *which)
                    self._layers[run_id] = _parse_layers(result, path)
                    names = [name for _, name, _ in self._layers[run_id]]
                    counts = (row["steps"], row["steps_per_epoch"])
                    row["history"] = partial(read_freeze_history, folder, names, *counts)
                    if all("weights" in layer for layer in result["layers"]):
                        self._weights[run_id] = [layer["weights"] for layer in result["layers"]]
            elif (folder / "failure.json").exists():
                reason = str(_object(folder / "failure.json").get("reason", ""))
                row |= {"state": FAILED, "reason": reason}
            elif folder.exists():
                row |= {"state": UNFINISHED}
            self._rows[run_id] = row
        return self._rows[run_id]


def read_runs(wanted: Iterable[Mapping[str, Any]], results: Path) -> pd.DataFrame:
    """Return the wanted runs (see `Reader.read_runs`)."""
    return Reader(results).read_runs(wanted)


def _parse_result(result: Run, path: Path, run_id: str, threads: int) -> Run:
    """Return the columns of a run that come from its result.json."""
    if _get_nested(result, ("id",), path) != run_id:
        raise UserError(f"{path} is the result of another run, {result['id']}; delete its folder")
    values = {
        key: _parse_number(_get_nested(result, keys, path), path)
        for key, keys in NUMBERS.items()
        if key not in LATER or keys[1] in _get_nested(result, keys[:1], path)
    }
    values = dict.fromkeys(LATER, math.nan) | values
    # The status "done" counts only together with a finite accuracy.
    done = _get_nested(result, ("status",), path) == "done" and math.isfinite(values["accuracy"])
    wall, cpu = (values[f"{on}train_s"] + values[f"{on}decide_s"] for on in ("", "cpu_"))
    return {
        "state": DONE if done else DIVERGED,
        "reason": str(result.get("reason") or ""),
        "metric": str(result.get("metric") or "accuracy"),
        "resumed": bool(result.get("resumed", False)),
        # On a GPU the CPU only waits, so its time says nothing about other processes.
        "slowed": math.isnan(values["cuda_allocated"]) and wall * threads > SLOWED * cpu,
        **values,
        **parse_energy(result, path),
        "time_s": wall,
        "cpu_s": cpu,
        "memory_bytes": values["saved_bytes"] + values["state_bytes"],
    }


def _parse_layers(result: Run, path: Path) -> list[tuple[int, str, float]]:
    """Return index, name and freezing step of each layer; the step is NaN if it never froze."""
    layers = _get_nested(result, ("layers",), path)
    if not isinstance(layers, list):
        raise UserError(f"{path}: layers is not a list; {_suggest_fix(path)}")
    return [
        (
            _parse_index(_get_nested(layer, ("index",), path), path),
            str(_get_nested(layer, ("name",), path)),
            _parse_number(_get_nested(layer, ("frozen_at_step",), path), path),
        )
        for layer in layers
    ]


def _parse_index(value: Any, path: Path) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise UserError(f"{path}: {value!r} is not a layer index; {_suggest_fix(path)}")
    return value


def _read_environment(folder: Path) -> tuple[Run, int]:
    """Return `device` and `commit` of a run, and its number of threads.

    Times may be compared only between runs with the same text in `device`. An unknown device gets a
    text that is unique to the run.
    """
    path = folder / "environment.json"
    values = _object(path) if path.exists() else {}
    device = str(values.get("device") or f"{UNKNOWN} of run {folder.name}")
    threads = values.get("threads")
    if not isinstance(threads, int | None):
        raise UserError(f"{path}: threads is {threads!r}, not an integer; {_suggest_fix(path)}")
    row = {
        "device": f"{device}, {threads} thread{'s' * (threads != 1)}" if threads else device,
        "commit": str(values.get("commit") or ""),
    }
    return row, int(threads or 1)


def _read_replayed(folder: Path) -> float:
    """Return a run's time by `freezebench retime` as a share of full training's time.

    NaN if retime.json does not exist, or if its device differs from the device of the run.
    """
    path = folder / "retime.json"
    if not path.exists():
        return math.nan
    values = _object(path)
    made_on = folder / "environment.json"
    same = made_on.exists() and _object(made_on).get("device") == _get_nested(
        values, ("device",), path
    )
    return (
        _parse_number(_get_nested(values, ("time_ratio", "median"), path), path)
        if same
        else math.nan
    )


def _object(path: Path) -> Run:
    """Return the JSON object in a file.

    Raises UserError that names the file if it is damaged or not a JSON object.
    """
    values: Any = read_json(path, _suggest_fix(path))
    if not isinstance(values, dict):
        raise UserError(f"{path} is not a JSON object; {_suggest_fix(path)}")
    return values


def _suggest_fix(path: Path) -> str:
    return MENDS.get(path.name, AGAIN)


def _get_nested(values: Run, keys: tuple[str, ...], path: Path) -> Any:
    """Return a value inside nested JSON objects.

    Raises UserError if a key is missing.
    """
    found: Any = values
    for key in keys:
        if not isinstance(found, dict) or key not in found:
            raise UserError(f"{path} has no {'.'.join(keys)}; {_suggest_fix(path)}")
        found = found[key]
    return found


def _parse_number(value: Any, path: Path) -> float:
    """Return a JSON number as a float; null becomes NaN.

    Raises UserError if the value is not a number or null.
    """
    if value is None:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UserError(f"{path}: {value!r} is not a number; {_suggest_fix(path)}")
    return float(value)
