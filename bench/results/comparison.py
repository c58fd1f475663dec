"""Reproducible part of a run's record, without timings, energy and CUDA memory.

Two executions of one spec must have the same reproducible part, bit for bit.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bench.errors import UserError
from bench.files import hash_file, read_json, read_json_lines
from bench.path_names import omit_path
from bench.results.decisions import read_decisions
from bench.results.evaluation_file import read_evaluation
from bench.spec import FIELDS, HOW

# Fields that depend on machine speed, on the CUDA allocator or on an interruption.
OF_A_RUN = ("clocks", "cpu", "energy", "resumed")
OF_A_STATE = ("step_s_median", "compile_s", "cuda_allocated", "cuda_reserved")
OF_AN_EPOCH = ("train_s", "decide_s", "cuda_allocated")
MEMORY_OF_THE_DEVICE = ("cuda_allocated_peak", "cuda_reserved_peak")


def read_reproducible(folder: Path) -> dict[str, Any]:
    """Return the spec, result, epochs and decisions of a done run, and hashes of its other files.

    The other files hold the kept weights and the outcomes of the evaluation samples. Raises
    UserError that names the file if a file is missing or damaged.
    """
    result = _drop_fields(read_json(folder / "result.json"), OF_A_RUN)
    spec = _drop_fields(read_json(folder / "spec.json"), HOW)
    # A run that an earlier version of the code recorded lacks options that were added since.
    spec = {n: option.default for n, option in FIELDS.items() if n not in HOW} | spec
    model = folder / "model.safetensors"
    epochs = read_json_lines(folder / "epochs.jsonl")
    try:
        result["memory"] = _drop_fields(result["memory"], MEMORY_OF_THE_DEVICE)
        result["freeze_states"] = [_drop_fields(s, OF_A_STATE) for s in result["freeze_states"]]
    except (KeyError, TypeError, AttributeError):
        raise UserError(
            f"{folder / 'result.json'} is not the result of a run; delete its folder"
        ) from None
    return {
        "spec": spec,
        "result": result,
        "epochs": [_drop_fields(row, OF_AN_EPOCH) for row in epochs],
        "decisions": read_decisions(folder),
        "evaluation": read_evaluation(folder).hash() if result.get("status") == "done" else "",
        "model": hash_file(model) if model.exists() else "",
    }


def find_difference(one: dict[str, Any], other: dict[str, Any]) -> str:
    """Return the first difference between two records in words, or '' if there is none.

    Kept weights are compared only if both runs have them.
    """
    for key in ("spec", "result"):
        for name in sorted(one[key].keys() | other[key].keys()):
            first, second = one[key].get(name), other[key].get(name)
            if (key, name) in (("spec", "data"), ("spec", "model")):
                first, second = omit_path(first), omit_path(second)
            if first != second:
                return f"{key}.{name}: {_shorten(first)} and {_shorten(second)}"
    for key in ("epochs", "decisions"):
        if one[key] != other[key]:
            pairs = zip(one[key], other[key], strict=False)
            line = next((i for i, (a, b) in enumerate(pairs, 1) if a != b), "count")
            return f"{key}, line {line}"
    if one["evaluation"] != other["evaluation"]:
        return "the outcomes of the evaluation samples"
    if one["model"] and other["model"] and one["model"] != other["model"]:
        return "the trained weights"
    return ""


def _drop_fields(values: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key not in names}


def _shorten(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
