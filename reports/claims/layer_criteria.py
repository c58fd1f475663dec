"""Criteria for the claims on memory and on the order of freezing (Figure 5)."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from reports.claims import evidence, outcome_rules
from reports.claims.criteria import Criterion, Finding, format_interval, format_percent
from reports.claims.evidence import Frames
from reports.statistics import compute_t_interval


def require_memory_saving(models: Sequence[str], least: float) -> Criterion:
    """Require that SmartFRZ saves more than the share `least` of memory in the last epoch.

    The share is relative to the last epoch of full training.
    models: the claim must hold for each of them.
    least: from 0 to 1.
    """

    def find(frames: Frames, parts: int) -> Finding:
        found = {model: evidence.compute_memory_saved(frames, model) for model in models}
        words = "; ".join(f"{m} {format_percent(saved, least)}" for m, saved in found.items())
        return Finding(words, outcome_rules.check_above(list(found.values()), least, parts))

    several = len(models) > 1
    return Criterion(
        "Share of memory (saved + state bytes of the last epoch) that smartfrz saves compared with "
        f"full, paired by seed. Holds if the interval is entirely above {100 * least:g} %"
        f"{' for every model' * several}. Does not hold if it is entirely below"
        f"{' for any model' * several}.",
        find,
    )


def require_inversions(model: str) -> Criterion:
    """Require that, in some run, a layer freezes before a layer that is nearer to the input."""

    def find(frames: Frames, parts: int) -> Finding:
        counts = evidence.measure_runs(frames, model, count_inversions)
        runs = sum(count > 0 for count in counts)
        return Finding(f"in {runs} of {len(counts)} runs", outcome_rules.check_any_positive(counts))

    return Criterion(
        f"Holds if, in any run of smartfrz on {model}, a layer freezes at an earlier step than a "
        "layer before it in the forward pass. Does not hold if this happens in no run.",
        find,
    )


def require_front_first(model: str) -> Criterion:
    """Require that layers tend to freeze in the order of the forward pass."""

    def find(frames: Frames, parts: int) -> Finding:
        correlation = compute_t_interval(evidence.measure_runs(frames, model, correlate_order))
        return Finding(
            f"rank correlation {format_interval(correlation)}",
            outcome_rules.check_above([correlation], 0.0, parts),
        )

    return Criterion(
        f"Rank correlation (Kendall's τ-a) between the position of a layer and the moment at which "
        f"it froze, over the layers that froze, smartfrz on {model}. Holds if the interval over "
        "the seeds is entirely above 0. Does not hold if it is entirely below.",
        find,
    )


def count_inversions(layers: pd.DataFrame) -> float:
    """Count the pairs of layers that froze in reverse order.

    layers: one row per layer of a run. A layer that never froze counts as later than all layers
    that froze.
    """
    freeze_steps = layers.sort_values("layer").frozen_at.fillna(float("inf")).tolist()
    return float(sum(a > b for i, a in enumerate(freeze_steps) for b in freeze_steps[i + 1 :]))


def correlate_order(layers: pd.DataFrame) -> float:
    """Return Kendall's τ-a between position and freeze step, over the layers that froze.

    layers: one row per layer of a run. The result is 0 if fewer than two layers froze.
    """
    freeze_steps = layers.sort_values("layer").frozen_at.dropna().tolist()
    pairs = [(a, b) for i, a in enumerate(freeze_steps) for b in freeze_steps[i + 1 :]]
    return sum((b > a) - (b < a) for a, b in pairs) / len(pairs) if pairs else 0.0
