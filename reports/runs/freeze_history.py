"""Freeze history of a run: which layers froze or thawed at which step, and by what score."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.errors import UserError
from bench.results.decisions import FILE, decode_layers, read_decisions


@dataclass(frozen=True)
class LayerChange:
    """Layer that froze or thawed.

    score, threshold: the numbers that the strategy compared; NaN if it recorded no numbers.
    """

    layer: int
    freezes: bool
    score: float = math.nan
    threshold: float = math.nan


@dataclass(frozen=True)
class FreezeStage:
    """Freezing stage that changed at least one layer, after `step` finished steps."""

    step: int
    changes: Sequence[LayerChange]


@dataclass(frozen=True)
class FreezeHistory:
    """Freeze history of a finished run.

    names: names of the layers, from the input on.
    decided: number of freezing stages with a decision.
    known: whether the run folder has a decisions file. Without this file, `stages` is empty.
    """

    names: Sequence[str]
    steps: float
    steps_per_epoch: float
    stages: Sequence[FreezeStage]
    decided: int
    known: bool = True

    def list_intervals(self) -> list[list[tuple[float, float]]]:
        """Return the intervals during which each layer was frozen, as steps (first, end)."""
        found: list[list[tuple[float, float]]] = [[] for _ in self.names]
        since: dict[int, int] = {}
        for stage in self.stages:
            for change in stage.changes:
                if change.freezes:
                    since[change.layer] = stage.step
                else:
                    found[change.layer].append((since.pop(change.layer), stage.step))
        for layer, step in since.items():
            found[layer].append((step, self.steps))
        return found


def read_freeze_history(
    folder: Path, names: Sequence[str], steps: float, steps_per_epoch: float
) -> FreezeHistory:
    """Read the history of a finished run from the decisions in its folder.

    names: names of the run's layers, from the input on. Decisions after the last step are left out,
    because they were not applied. Raises UserError that names the file if it is damaged.
    """
    if not (folder / FILE).exists():
        return FreezeHistory(names, steps, steps_per_epoch, [], 0, known=False)
    stages: dict[int, dict[int, LayerChange]] = {}
    decided: set[int] = set()
    frozen: set[int] = set()
    try:
        for line in read_decisions(folder):
            if line["step"] >= steps:
                continue
            decided.add(line["step"])
            for change in _list_changes(line, frozen):
                names[change.layer]  # an index out of range means that the file is damaged
                (frozen.add if change.freezes else frozen.discard)(change.layer)
                here = stages.setdefault(line["step"], {})
                if here.pop(change.layer, None) is None:  # two opposite changes are none
                    here[change.layer] = change
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise UserError(
            f"{folder / FILE} is damaged ({error!r}); delete its folder to execute the run again"
        ) from None
    changed = [
        FreezeStage(step, [*changes.values()]) for step, changes in stages.items() if changes
    ]
    return FreezeHistory(names, steps, steps_per_epoch, changed, len(decided))


def _list_changes(line: Mapping[str, Any], frozen: set[int]) -> Iterator[LayerChange]:
    """Yield the changes on one line of decisions.jsonl, in the full or the compact format.

    bench.results.decisions describes both formats.
    frozen: layers that were frozen before.
    """
    if "frozen" in line:
        after = decode_layers(line["frozen"])
        for layer in sorted(after ^ frozen):
            yield LayerChange(layer, layer in after)
    elif bool(line["freeze"]) != (line["layer"] in frozen):
        numbers = (line["score"], line["threshold"])
        score, threshold = (math.nan if number is None else float(number) for number in numbers)
        yield LayerChange(line["layer"], bool(line["freeze"]), score, threshold)
