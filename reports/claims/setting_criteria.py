"""Criteria for the claims on the settings of a method (Tables 4, 5, 8, 9)."""

from __future__ import annotations

from collections.abc import Sequence

from reports.claims import evidence, outcome_rules
from reports.claims.criteria import Criterion, Finding, format_interval
from reports.claims.evidence import Frames


def require_similar(table: str, methods: Sequence[str], default: str, most: float) -> Criterion:
    """Require that every setting differs from the default by less than `most` points.

    methods: method names of the settings.
    default: method name of the default setting.
    """

    def find(frames: Frames, parts: int) -> Finding:
        found = {
            (*pair, method): difference.interval
            for method in methods
            for pair, difference in evidence.compute_differences(
                frames, table, method, default
            ).items()
        }
        farthest = max(found, key=lambda key: abs(found[key].mean))
        words = (
            f"largest difference: {farthest[-1]} on {farthest[0]}, "
            f"{format_interval(found[farthest], (-most, most))} points"
        )
        return Finding(words, outcome_rules.check_between(list(found.values()), -most, most, parts))

    return Criterion(
        f"Difference in accuracy, each setting − the default ({default}), paired by seed. Holds if "
        f"every interval is entirely within ±{most:g} points. Does not hold if any interval is "
        "entirely outside.",
        find,
    )


def require_best(table: str, methods: Sequence[str], chosen: str) -> Criterion:
    """Require that the chosen setting is more accurate than every other setting.

    methods: method names of the other settings.
    chosen: method name of the chosen setting.
    """

    def find(frames: Frames, parts: int) -> Finding:
        found = {m: evidence.compute_differences(frames, table, chosen, m) for m in methods}
        every = {
            (m, *pair): difference.interval
            for m, pairs in found.items()
            for pair, difference in pairs.items()
        }
        closest = min(every, key=lambda key: every[key].mean)
        words = f"smallest lead: {format_interval(every[closest])} points over {closest[0]}"
        return Finding(words, outcome_rules.check_above(list(every.values()), 0.0, parts))

    return Criterion(
        f"Difference in accuracy, {chosen} − each other setting, paired by seed. Holds if every "
        "interval is entirely above 0. Does not hold if any interval is entirely below.",
        find,
    )
