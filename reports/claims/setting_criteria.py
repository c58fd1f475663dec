"""Ways to judge what is claimed of a method's settings (Tables 4, 5, 8, 9)."""

from __future__ import annotations

from collections.abc import Sequence

from reports.claims import evidence, verdict_rules
from reports.claims.criteria import Criterion, Finding, format_interval
from reports.claims.evidence import Frames


def require_similar(table: str, methods: Sequence[str], default: str, most: float) -> Criterion:
    """No setting differs from the default by as much as `most` points, in any pair."""

    def find(frames: Frames) -> Finding:
        found = {
            (*pair, method): one
            for method in methods
            for pair, one in evidence.compute_differences(frames, table, method, default).items()
        }
        farthest = max(found, key=lambda key: abs(found[key].mean))
        words = (
            f"farthest: {farthest[-1]} on {farthest[0]}, {format_interval(found[farthest])} points"
        )
        return Finding(words, verdict_rules.check_between(list(found.values()), -most, most))

    return Criterion(
        f"Accuracy at each setting − at the default ({default}), paired by seed: holds if every "
        f"interval lies within ±{most:g} points, not if one lies outside.",
        find,
    )


def require_best(table: str, methods: Sequence[str], chosen: str) -> Criterion:
    """No other setting is as accurate as the chosen one."""

    def find(frames: Frames) -> Finding:
        found = {m: evidence.compute_differences(frames, table, chosen, m) for m in methods}
        every = {(m, *pair): one for m, pairs in found.items() for pair, one in pairs.items()}
        closest = min(every, key=lambda key: every[key].mean)
        words = f"least ahead of {closest[0]}: {format_interval(every[closest])} points"
        return Finding(words, verdict_rules.check_above(list(every.values()), 0.0))

    return Criterion(
        f"Accuracy at {chosen} − at each other setting, paired by seed: holds if every interval "
        "lies above 0, not if one lies below.",
        find,
    )
