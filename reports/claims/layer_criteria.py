"""Ways to judge what is claimed of memory and of the moments of freezing (Figure 5)."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from reports.claims import evidence, verdict_rules
from reports.claims.criteria import Criterion, Finding, format_interval, format_percent
from reports.claims.evidence import Frames
from reports.statistics import compute_t_interval


def require_memory_saving(models: Sequence[str], least: float) -> Criterion:
    """SmartFRZ's last epoch does without a share of full training's memory, in every model."""

    def find(frames: Frames) -> Finding:
        found = {model: evidence.compute_memory_saved(frames, model) for model in models}
        words = "; ".join(f"{m} {format_percent(one)}" for m, one in found.items())
        return Finding(words, verdict_rules.check_above(list(found.values()), least))

    return Criterion(
        "Saved + state bytes of the last epoch, smartfrz against full, paired by seed: holds if "
        f"the interval lies above {100 * least:g} %{' in every model' * (len(models) > 1)}, not "
        "if below.",
        find,
    )


def require_inversions(model: str) -> Criterion:
    """Some layer freezes before an earlier one."""

    def find(frames: Frames) -> Finding:
        counts = evidence.measure_runs(frames, model, count_inversions)
        runs = sum(count > 0 for count in counts)
        return Finding(f"in {runs} of {len(counts)} runs", verdict_rules.check_any_positive(counts))

    return Criterion(
        f"Holds if in any run of smartfrz on {model} a layer freezes at an earlier step than one "
        "before it in the forward pass, not if in none.",
        find,
    )


def require_front_first(model: str) -> Criterion:
    """Layers tend to freeze in the order of the forward pass."""

    def find(frames: Frames) -> Finding:
        one = compute_t_interval(evidence.measure_runs(frames, model, correlate_order))
        return Finding(
            f"rank correlation {format_interval(one)}", verdict_rules.check_above([one], 0.0)
        )

    return Criterion(
        f"Rank correlation (Kendall's τ-a) of place and moment over layers that froze, smartfrz "
        f"on {model}, over the seeds: holds if the interval lies above 0, not if below.",
        find,
    )


def count_inversions(layers: pd.DataFrame) -> float:
    """How many pairs of layers froze in reverse; one that never froze comes after all that did."""
    moments = layers.sort_values("layer").frozen_at.fillna(float("inf")).tolist()
    return float(sum(a > b for i, a in enumerate(moments) for b in moments[i + 1 :]))


def correlate_order(layers: pd.DataFrame) -> float:
    """Kendall's τ-a of place and moment, over the layers that froze; 0 below two of them."""
    moments = layers.sort_values("layer").frozen_at.dropna().tolist()
    pairs = [(a, b) for i, a in enumerate(moments) for b in moments[i + 1 :]]
    return sum((b > a) - (b < a) for a, b in pairs) / len(pairs) if pairs else 0.0
