"""File decisions.jsonl of a run, in which each line has one of two formats.

Full: one line per layer that a strategy judged, with `step`, `epoch`, `layer`, `name`, `score`,
`threshold` and `freeze`. Layers without a line keep their state.

Compact, for strategies that switch often: one line per freezing stage, with `step` and `frozen`.
The value of `frozen` is a bit mask in hexadecimal digits. Bit i is set if layer i is frozen from
this step on. For example, "5" means that layers 0 and 2 are frozen.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from bench.files import read_json_lines

FILE = "decisions.jsonl"


def encode_layers(layers: Collection[int]) -> str:
    """Return a set of layers as a bit mask in hexadecimal digits."""
    return f"{sum(1 << layer for layer in set(layers)):x}"


def decode_layers(mask: str) -> frozenset[int]:
    """Return the set of layers of a bit mask in hexadecimal digits."""
    bits = int(mask, 16)
    return frozenset(i for i in range(bits.bit_length()) if bits >> i & 1)


def read_decisions(folder: Path) -> list[dict[str, Any]]:
    """Return the lines of a run folder's decisions.jsonl, in either format.

    Raises UserError if the file is missing or damaged.
    """
    return read_json_lines(folder / FILE)


def list_frozen_sets(lines: Sequence[dict[str, Any]]) -> list[tuple[int, frozenset[int]]]:
    """Return the step of each freezing stage and the layers that it left frozen, in order.

    lines: lines of decisions.jsonl, in either format. Decisions after the last step are included,
    although they were not applied.
    """
    frozen: frozenset[int] = frozenset()
    found: dict[int, frozenset[int]] = {}
    for line in lines:
        if "frozen" in line:
            frozen = decode_layers(line["frozen"])
        elif line["freeze"]:
            frozen |= {line["layer"]}
        else:
            frozen -= {line["layer"]}
        found[line["step"]] = frozen
    return list(found.items())
