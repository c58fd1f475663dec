"""Rows of the tables that compare methods with full training, with all numbers unrounded.

The CSV files contain these rows. Costs are in FLOPs, seconds and bytes. Accuracies are in percent,
and savings are shares (0 to 1). Keys that begin with `published_` are the paper's numbers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.spec import FULL
from reports import statistics
from reports.comparison.against_full import Comparison, Pooled, compare_with_full, pool_methods
from reports.comparison.paired_difference import describe_few_sources
from reports.document import captions
from reports.document.profile import Profile
from reports.document.table import (
    Row,
    Value,
    format_fixed,
    format_p_value,
    is_known,
    to_number,
)
from reports.paper import derived_numbers
from reports.runs.cells import Cell
from reports.runs.run_energy import ENERGY
from reports.runs.run_table import REPLAYED, ROLES
from reports.statistics import Interval

MEANS = (  # keys of the means over the finished runs of a cell
    "train_s",
    "decide_s",
    "cpu_s",
    "paper_forward",
    "paper_backward",
    "exact_forward",
    "exact_backward",
    "exact_total",
    "executed_total",
    "decide_flops",
    "saved_bytes",
    "saved_bytes_mean",
    "state_bytes",
    "memory_bytes",
    "cuda_allocated",
    "cuda_reserved",
    *ENERGY,
)
OF_THE_DEVICE = ("train_s", "decide_s", "cpu_s", *ENERGY)  # no mean over several devices


@dataclass(frozen=True)
class ComparedCell:
    """Cell together with its comparison with full training.

    compared_devices: devices of all methods on the same model and data set.
    """

    cell: Cell
    comparison: Comparison
    compared_devices: frozenset[str] = frozenset()

    @property
    def method(self) -> str:
        """Name of the method of the cell."""
        return self.cell.roles[ROLES.index("method")]


def compare_cells(cells: Sequence[Cell]) -> list[ComparedCell]:
    """Compare each cell (model, dataset, method) with full training on the same pair."""
    full = {cell.roles[:2]: cell for cell in cells if cell.roles[2] == FULL}
    none = {cell.roles[:2]: Cell((*cell.roles[:2], FULL), []) for cell in cells}
    whole = none | full
    used: dict[tuple[str, ...], frozenset[str]] = {}
    for cell in cells:
        used[cell.roles[:2]] = used.get(cell.roles[:2], frozenset()) | cell.devices
    return [
        ComparedCell(cell, compare_with_full(cell, whole[pair := cell.roles[:2]]), used[pair])
        for cell in cells
    ]


def describe_sources(against: Sequence[ComparedCell], profile: Profile) -> list[str]:
    """Return notes on data sets whose test samples come from one source or a few sources."""
    differences = [
        (profile.format_name(compared.cell.roles[1]), compared.comparison.accuracy)
        for compared in against
        if compared.method != FULL
    ]
    return describe_few_sources(differences)


def pool_compared(against: Sequence[ComparedCell]) -> dict[str, Pooled]:
    """Pool each method except full training over its pairs."""
    strategies: dict[str, list[tuple[Cell, Comparison]]] = {}
    for compared in against:
        if compared.method != FULL:
            strategies.setdefault(compared.method, []).append((compared.cell, compared.comparison))
    return pool_methods(strategies)


def build_row(compared: ComparedCell, profile: Profile, table: int | None) -> Row:
    """Return the row of one cell, with the paper's numbers if `table` prints any.

    table: number of the paper's table, or None.
    """
    cell, comparison = compared.cell, compared.comparison
    model, dataset, method = cell.roles
    timed = len(cell.devices) < 2
    values: dict[str, Value] = {
        "model": profile.format_name(model),
        "dataset": profile.format_name(dataset),
        "method": method,
        "cell": str(cell.runs[0]["cell"]),
        "count": f"{cell.n} of {cell.wanted}",
        "seeds": captions.format_seed_count(cell),
        "finished": cell.n,
        "wanted": cell.wanted,
        "diverged": cell.diverged,
        "failed": cell.failed,
        "resumed": cell.resumed,
        "slowed": cell.slowed,
        "device": "; ".join(sorted(cell.devices)),
        "mark": captions.format_marks(cell),
        "time_mark": captions.format_marks(cell, True, compared.compared_devices),
        "accuracy": cell.mean("accuracy"),
        "accuracy_sd": cell.sd("accuracy"),
        "time_s": cell.mean("time_s") if timed else None,
        "time_s_sd": cell.sd("time_s") if timed else None,
        "paper_total": cell.mean("paper_total"),
        "paper_total_sd": cell.sd("paper_total"),
    }
    values |= {key: cell.mean(key) if timed or key not in OF_THE_DEVICE else None for key in MEANS}
    if method != FULL:
        values |= _expand_comparison(comparison) | _compute_replayed(cell)
    else:
        values |= dict.fromkeys(_expand_comparison(comparison) | _compute_replayed(cell))
    return values | derived_numbers.look_up_row(
        table, profile.find_role(model), profile.find_role(dataset), method
    )


def build_pooled_rows(pools: Mapping[str, Pooled], table: int | None) -> list[Row]:
    """Return one row per method, with means over our pairs and over the pairs of the paper."""
    return [
        {
            "method": method,
            "pairs": format_pairs(pooled),
            **expand_interval("difference", pooled.difference),
            **expand_interval("by_model", pooled.by_model),
            **expand_interval("widest", pooled.widest),
            "draw_error": pooled.draw_error,
            "detectable": statistics.compute_detectable_difference(pooled.widest),
            "verdict": pooled.verdict or None,
            "p_no_worse": pooled.p_no_worse,
            "p_different": pooled.p_different,
            "non_inferior_pairs": pooled.verdicts.get("non-inferior", 0),
            "inconclusive_pairs": pooled.verdicts.get("inconclusive", 0),
            "worse_pairs": pooled.verdicts.get(statistics.MARGIN_OPEN, 0),
            "inferior_pairs": pooled.verdicts.get("inferior", 0),
            "flops_saved": pooled.flops_saved,
            "exact_saved": pooled.exact_saved,
            **expand_interval("time_saved", pooled.time_saved),
            "time_saved_mark": _format_time_mark(pooled, pooled.timed < pooled.pairs),
            "realised": pooled.realised,
            **derived_numbers.compute_means(table, method),
        }
        for method, pooled in pools.items()
    ]


def format_pairs(pooled: Pooled, word: str = "") -> str:
    """Return a text such as "3 of 4 pairs, 15 of 20 runs", here with `word` = " pairs".

    word: text after the numbers of pairs. The runs are left out of the text if all have a result.
    """
    seeds = f", {pooled.done} of {pooled.planned} runs" if pooled.done < pooled.planned else ""
    return f"{pooled.pairs} of {pooled.wanted}{word}{seeds}"


def format_replayed(row: Row) -> str:
    """Return the time saved in percent by `freezebench retime`; add " (1 of 5)" if runs lack it."""
    words = format_fixed(100 * to_number(row["replayed_saved"]), 1)
    some = is_known(row["replayed_saved"]) and row["replayed_runs"] != row["finished"]
    return f"{words} ({row['replayed_runs']} of {row['finished']})" if some else words


def format_missing_seeds(row: Row, template: str = " ({paired} of {wanted} seeds)") -> str:
    """Return the filled-in template if a difference is based on fewer seeds than wanted, or ""."""
    paired, wanted = row["paired_seeds"], row["wanted"]
    fewer = 0 < to_number(paired) < to_number(wanted)
    return template.format(paired=paired, wanted=wanted) if fewer else ""


def describe_claims(pools: Mapping[str, Pooled]) -> list[str]:
    """Return a sentence per method: its verdict, and its speed-up or why none is claimed."""
    sentences = []
    for method, pooled in pools.items():
        over = f"{method}, {format_pairs(pooled, ' pairs')}: {pooled.verdict or 'no verdict'}"
        value = format_p_value(pooled.p_no_worse)
        p = f"Holm-adjusted p {value if value.startswith('<') else f'= {value}'}"
        if pooled.faster:
            saved = (
                f"{format_fixed(100 * pooled.time_saved.mean, 1)} % of the training time is saved"
            )
            sentences.append(f"{over} ({p}). Speed-up claimed: {saved}.")
        elif pooled.no_worse and pooled.slowed:
            sentences.append(
                f"{over} ({p}). No speed-up claimed, because {pooled.slowed} of the compared runs "
                "probably shared a CPU with another process."
            )
        elif pooled.no_worse:
            reason = _explain_no_claim(pooled)
            sentences.append(f"{over} ({p}). No speed-up claimed, because {reason}.")
        elif pooled.verdict == "non-inferior":
            sentences.append(f"{over}, but not after Holm's correction ({p}). No speed-up claimed.")
        else:
            gap = f" Runs of this method or of full training without a result: {pooled.absent}."
            sentences.append(f"{over}. No speed-up claimed.{gap if pooled.absent else ''}")
    return sentences


def describe_power(pools: Mapping[str, Pooled]) -> list[str]:
    """Return a sentence on the smallest difference that the runs can show, or no sentence."""
    found = {
        method: statistics.compute_detectable_difference(pooled.widest)
        for method, pooled in pools.items()
    }
    words = [
        f"{method} {format_fixed(points)}" for method, points in found.items() if points == points
    ]
    power = f"{100 * statistics.POWER:g} %"
    text = f"Smallest difference that these runs find with {power} power, in points: "
    return [f"{text}{', '.join(words)}."] if words else []


def _explain_no_claim(pooled: Pooled) -> str:
    """Return why no speed-up is claimed for a non-inferior method.

    The caller ensures that no compared run shared its CPU.
    """
    if pooled.timed < pooled.wanted:
        return f"times are comparable on only {pooled.timed} of {pooled.wanted} pairs"
    return "it takes more time" if pooled.slower else "its time saving is not significant"


def expand_interval(key: str, interval: Interval) -> dict[str, Value]:
    """Return the columns `key`, `key`_low and `key`_high of an interval."""
    return {key: interval.mean, f"{key}_low": interval.low, f"{key}_high": interval.high}


def _compute_replayed(cell: Cell) -> dict[str, Value]:
    """Return the mean share of time saved by `freezebench retime`, and the number of its runs."""
    known = [ratio for ratio in cell.values(REPLAYED) if math.isfinite(ratio)]
    saved = 1 - statistics.compute_mean(known) if known else None
    return {"replayed_saved": saved, "replayed_runs": len(known)}


def _format_time_mark(comparison: Comparison | Pooled, devices_differ: bool) -> str:
    words = (
        captions.RESUMED_MARK * bool(comparison.resumed) + captions.DEVICES_MARK * devices_differ
    )
    words += captions.SLOWED_MARK * bool(comparison.slowed)
    return f" {words}" if words else ""


def _expand_comparison(comparison: Comparison) -> dict[str, Value]:
    seed_error, draw_error = comparison.accuracy.errors
    return {
        **expand_interval("difference", comparison.difference),
        "seed_error": seed_error,
        "draw_error": draw_error,
        "paired_seeds": comparison.difference.n,
        "detectable": statistics.compute_detectable_difference(comparison.difference),
        "verdict": comparison.verdict or None,
        "flops_saved": comparison.flops_saved,
        "exact_saved": comparison.exact_saved,
        **expand_interval("time_saved", comparison.time_saved),
        "time_saved_mark": _format_time_mark(comparison, comparison.devices_differ),
        "realised": comparison.realised,
    }
