"""What a run recorded apart from its clocks: what two makings of one run must share to the bit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bench.errors import UserError
from bench.files import hash_file, read_json

# What depends on how fast the machine was, on the allocator's mood, or on where files lie.
OF_A_RUN = ("clocks", "cpu", "resumed")
OF_A_STATE = ("step_s_median", "compile_s", "cuda_allocated", "cuda_reserved")
OF_AN_EPOCH = ("train_s", "cuda_allocated")
MEMORY_OF_THE_DEVICE = ("cuda_allocated_peak", "cuda_reserved_peak")


def read_reproducible(folder: Path) -> dict[str, Any]:
    """The spec, result, epochs and decisions of a done run, and a hash of its kept weights.

    Raises UserError naming a file that is missing or damaged.
    """
    result = _drop_fields(read_json(folder / "result.json"), OF_A_RUN)
    spec = _drop_fields(read_json(folder / "spec.json"), ("paths", "keep_model"))
    model = folder / "model.safetensors"
    try:
        result["memory"] = _drop_fields(result["memory"], MEMORY_OF_THE_DEVICE)
        result["freeze_states"] = [_drop_fields(s, OF_A_STATE) for s in result["freeze_states"]]
    except (KeyError, TypeError, AttributeError):
        raise UserError(
            f"{folder / 'result.json'} is no result of a run; delete its folder"
        ) from None
    return {
        "spec": spec,
        "result": result,
        "epochs": [_drop_fields(row, OF_AN_EPOCH) for row in _read_rows(folder / "epochs.jsonl")],
        "decisions": _read_rows(folder / "decisions.jsonl"),
        "model": hash_file(model) if model.exists() else "",
    }


def find_difference(one: dict[str, Any], other: dict[str, Any]) -> str:
    """Where two essences differ first, with both values; '' if they are the same.

    Kept weights are compared where both have them.
    """
    for key in ("spec", "result"):
        for name in sorted(one[key].keys() | other[key].keys()):
            first, second = one[key].get(name), other[key].get(name)
            if first != second:
                return f"{key}.{name}: {_shorten(first)} and {_shorten(second)}"
    for key in ("epochs", "decisions"):
        if one[key] != other[key]:
            pairs = zip(one[key], other[key], strict=False)
            line = next((i for i, (a, b) in enumerate(pairs, 1) if a != b), "the number")
            return f"{key}, line {line}"
    if one["model"] and other["model"] and one["model"] != other["model"]:
        return "the trained weights"
    return ""


def _drop_fields(values: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key not in names}


def _read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a file of JSON lines."""
    try:
        return [json.loads(line) for line in path.read_text().splitlines()]
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}); delete its folder") from None


def _shorten(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
