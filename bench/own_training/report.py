"""Report on the layers frozen in the user's training loop, and on the FLOPs saved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.costs.accounting import Accounting
from bench.costs.flops import Convention, Flops
from bench.results.decisions import list_frozen_sets
from bench.strategy_api.view import View

# The `executed` convention needs the precision of the loop's steps, which Freezing does not see.
CONVENTIONS: tuple[Convention, ...] = ("paper", "exact")


@dataclass(frozen=True)
class FrozenLayer:
    """Freezing of one layer during a training.

    Attributes:
        index: position of the layer, from 0.
        name: name of its module.
        frozen_at: number of finished steps when it froze last; None if it trains now.
        frozen_steps: number of steps in which it was frozen.
    """

    index: int
    name: str
    frozen_at: int | None
    frozen_steps: int


@dataclass(frozen=True)
class FreezingReport:
    """Report on what a strategy has frozen so far, and on the FLOPs that this saved.

    Attributes:
        strategy: name of the strategy.
        steps: number of finished steps.
        total_steps: number of planned steps.
        samples: number of training samples so far.
        layers: one entry per layer, the head last.
        spent: training FLOPs so far, by convention ("exact" or "paper"; see bench.costs.flops).
            Operations that gradient checkpointing computes again are not counted.
        full: FLOPs of full training for the same samples, by convention.
        decide: FLOPs of the strategy's own work.
    """

    strategy: str
    steps: int
    total_steps: int
    samples: int
    layers: tuple[FrozenLayer, ...]
    spent: Mapping[Convention, Flops]
    full: Mapping[Convention, Flops]
    decide: float

    def saved(self, convention: Convention = "exact") -> float:
        """Return the saved share of the FLOPs of full training, with decisions counted as a cost.

        The share is negative if decisions cost more than freezing saved, and 0 before the first
        step.
        """
        full = self.full[convention].total
        return 1 - (self.spent[convention].total + self.decide) / full if full else 0.0

    def __str__(self) -> str:
        lines = [
            f"strategy {self.strategy}; steps: {self.steps} of {self.total_steps}; samples: "
            f"{self.samples}"
        ]
        width = max(len(layer.name) for layer in self.layers)
        for layer in self.layers:
            now = "trains" if layer.frozen_at is None else f"frozen since step {layer.frozen_at}"
            held = f"frozen steps: {layer.frozen_steps}" if layer.frozen_steps else ""
            lines.append(f"  {layer.index:3} {layer.name:{width}}  {now:24} {held}".rstrip())
        for convention, spent in self.spent.items():
            full = self.full[convention].total
            lines.append(
                f"FLOPs ({convention}): training {spent.total:.4g}, decisions {self.decide:.4g}, "
                f"full training {full:.4g}; {100 * self.saved(convention):.1f} % saved"
            )
        return "\n".join(lines)


def count_frozen_steps(
    sets: Sequence[tuple[int, frozenset[int]]], layers: int, steps: int
) -> list[int]:
    """Return the number of steps in which each layer was frozen.

    sets: step of each freezing stage and layers that were frozen after it, in order.
    layers: number of layers.
    steps: number of finished steps.
    """
    counts = [0] * layers
    ends = [step for step, _ in sets[1:]] + [steps]
    for (begin, frozen), end in zip(sets, ends, strict=False):  # there may be no sets
        for layer in frozen:
            counts[layer] += max(0, min(end, steps) - begin)
    return counts


def make_report(
    strategy: str,
    view: View,
    accounting: Accounting,
    frozen_at: Mapping[int, int],
    decisions: Sequence[dict[str, Any]],
    decide: float,
) -> FreezingReport:
    """Return the report of a training.

    strategy: name of the strategy.
    frozen_at: step at which each frozen layer froze.
    decisions: lines of decisions.jsonl.
    decide: FLOPs of the strategy's own work.
    """
    held = count_frozen_steps(list_frozen_sets(decisions), len(view.layers), view.step)
    samples = sum(state.samples for state in accounting.states)
    return FreezingReport(
        strategy,
        view.step,
        view.total_steps,
        samples,
        tuple(
            FrozenLayer(i, layer.name, frozen_at.get(i), held[i])
            for i, layer in enumerate(view.layers)
        ),
        spent={name: accounting.sum_flops(name) for name in CONVENTIONS},
        full={name: view.flops.sum_batches(name, (), samples, view.step) for name in CONVENTIONS},
        decide=decide,
    )
