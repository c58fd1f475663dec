"""Label study: ranking of label rules by how well they explain the accuracy lost by freezing.

Runs on source tasks freeze each layer but the head at its own random step. A label rule classifies
each freeze as right or wrong. For this it uses the CKA curve of the same layer in a recorded run of
the task. If a rule is good, runs with more wrong freezing lose more accuracy.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import torch
from scipy.stats import spearmanr
from torch import Tensor

from bench.errors import UserError
from bench.planning.sweep import Entry, Sweep
from bench.results.run_folder import RunFolder
from bench.spec import FULL, Spec
from strategies.smartfrz.training.held_out import compute_interval
from strategies.smartfrz.training.labels import Rule
from strategies.smartfrz.training.source_runs import load_trace

AS_USED = "as used"  # role of the recorded runs that are trained like the randomly frozen runs
PairKey = tuple[str, str]  # family, task


@dataclass(frozen=True)
class FreezeHarm:
    """Accuracy that a run with random freezing lost.

    pair: model family and task.
    lost: accuracy below full training of the same seed, in percentage points.
    freeze_times (L,): fraction of the run after which each layer froze, 1 if it never froze. The L
        layers do not include the head.
    """

    pair: PairKey
    lost: float
    freeze_times: Tensor


def list_rules() -> dict[str, Rule | None]:
    """Return the rules by name. None stands for a rule that classifies every freeze as wrong."""
    rules: dict[str, Rule | None] = {"none": None}
    for k, epsilon, smooth in product((2, 3, 4, 6), (0.003, 0.01, 0.03), (1, 3)):
        name = f"stable, k = {k}, ε = {epsilon}" + (", smoothed" if smooth > 1 else "")
        rules[name] = Rule("stable", k, epsilon, smooth)
    for epsilon in (0.005, 0.01, 0.02, 0.05):
        rules[f"settled, ε = {epsilon}"] = Rule("settled", epsilon=epsilon)
    return rules


def measure_wrong_freezing(
    rule: Rule | None, curve: Tensor, times: Tensor, freeze_times: Tensor
) -> float:
    """Return the share of the run, in [0, 1], for which a layer was wrongly frozen, on average.

    The average is over all layers. A layer counts with 1 − freeze_times if its freeze was wrong,
    and with 0 otherwise. A freeze is classified by the label at the last CKA measurement at or
    before the freeze. The freeze also counts as wrong if this label is unknown.

    curve (S, L): CKA of L layers at S measurements.
    times (S,): times of the measurements, as fractions of the run.
    freeze_times (L,): as in FreezeHarm.
    """
    if rule is None:
        bad = torch.ones_like(freeze_times, dtype=torch.bool)
    else:
        label, known = rule.labels(curve)
        places = torch.searchsorted(times, freeze_times.double(), right=True) - 1
        layers = torch.arange(len(freeze_times))
        bad = ~(label & known)[places.clamp(min=0), layers]
    return float(((1 - freeze_times) * bad).mean())


def read_harmed(sweep: Sweep, results: Path) -> list[FreezeHarm]:
    """Return the randomly frozen runs of a sweep, with the accuracy that each of them lost.

    Raises UserError if a run is missing or has diverged.
    """
    full: dict[tuple[str, str, int], float] = {}
    frozen = []
    for entry in sweep.entries:
        folder = RunFolder(results, entry.spec.id)
        if not folder.done or folder.diverged:
            raise UserError(
                f"{entry.spec.label}: run {entry.spec.id} has no accuracy, because it "
                + ("diverged; lower its lr" if folder.done else "is not done; execute it first")
            )
        result, pair = folder.result(), _name_pair(entry)
        if entry.spec.strategy_name == FULL:
            full[*pair, entry.spec.seed] = result["accuracy"]
        else:
            frozen.append((pair, entry.spec.seed, result))
    return [
        FreezeHarm(pair, full[*pair, seed] - result["accuracy"], _read_freeze_times(result))
        for pair, seed, result in frozen
    ]


def _read_freeze_times(result: Mapping[str, Any]) -> Tensor:
    at = [layer["frozen_at_step"] for layer in result["layers"][:-1]]  # the head comes last
    return torch.tensor([1.0 if step is None else step / result["steps"] for step in at])


def select_recorded(harm: Sweep, sources: Sweep) -> dict[PairKey, Spec]:
    """Return the recorded run of each pair of family and task of the randomly frozen runs.

    harm: sweep of the randomly frozen runs.
    sources: sweep of the recorded runs. The recorded runs are those whose method is "as used",
    because they are trained like the randomly frozen runs.
    Raises UserError if a pair has no such run.
    """
    recorded = {
        _name_pair(entry): entry.spec
        for entry in sources.entries
        if entry.roles["method"] == AS_USED
    }
    pairs = dict.fromkeys(_name_pair(entry) for entry in harm.entries)
    if missing := [" on ".join(pair) for pair in pairs if pair not in recorded]:
        raise UserError(
            f"sweep {sources.name} has no run of the method {AS_USED!r} for {', '.join(missing)}; "
            f"add it there, or remove the pair from sweep {harm.name}"
        )
    return {pair: recorded[pair] for pair in pairs}


def list_needed(specs: Iterable[Spec], sources: Sweep) -> list[Spec]:
    """Return `specs` and all runs of the sweep `sources` that they need, such as references."""
    by_id = {spec.id: spec for spec in sources.specs}
    found: dict[str, Spec] = {}
    open_ids = [spec.id for spec in specs]
    while open_ids:
        spec = by_id[open_ids.pop()]
        found[spec.id] = spec
        open_ids += [need for need in spec.needs if need in by_id]
    return list(found.values())


def read_curves(
    recorded: Mapping[PairKey, Spec], results: Path
) -> dict[PairKey, tuple[Tensor, Tensor]]:
    """Return the CKA curve (S, L) of each pair and its times (S,), as fractions of the run.

    Raises UserError if the file of a recording is missing or damaged.
    """
    curves = {}
    for pair, spec in recorded.items():
        trace = load_trace(RunFolder(results, spec.id).path / "trace.safetensors")
        curves[pair] = trace["cka"], trace["probes"]
    return curves


def _name_pair(entry: Entry) -> PairKey:
    return entry.roles["model"], entry.roles["dataset"]


def rank_rules(
    harmed: Sequence[FreezeHarm], curves: Mapping[PairKey, tuple[Tensor, Tensor]]
) -> list[tuple[str, float, float, float]]:
    """Return a row per rule, best first: name, ρ, half-width, fraction frozen wrongly.

    ρ is Spearman's correlation between wrong freezing and lost accuracy, averaged over the pairs.
    The half-width is that of its 95 % interval over the pairs. The last value is the mean of
    `measure_wrong_freezing` over the runs.
    """
    rows = []
    for name, rule in list_rules().items():
        correlations, amounts = [], []
        for pair in dict.fromkeys(h.pair for h in harmed):
            here = [h for h in harmed if h.pair == pair]
            frozen = [measure_wrong_freezing(rule, *curves[pair], h.freeze_times) for h in here]
            amounts += frozen
            if len(set(frozen)) > 1:
                rho = spearmanr(frozen, [h.lost for h in here]).statistic
            else:
                rho = 0.0  # the amount is the same for all runs, so it explains nothing
            correlations.append(float(rho))
        rows.append((name, *compute_interval(correlations), sum(amounts) / len(amounts)))
    return sorted(rows, key=lambda row: -row[1])


def format_ranking(rows: Sequence[tuple[str, float, float, float]]) -> str:
    """Return the rows of `rank_rules` as a text table."""
    lines = [f"{'rule':34}{'ρ with points lost':>20}{'frozen wrongly':>18}"]
    lines += [f"{name:34}{f'{rho:+.2f} ± {half:.2f}':>20}{amount:18.1%}"
              for name, rho, half, amount in rows]  # fmt: skip
    return "\n".join(lines)
