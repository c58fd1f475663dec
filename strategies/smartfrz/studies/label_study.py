"""Which rule of labelling stands in best for what matters: what freezing does to accuracy.

Runs on source tasks freeze every layer at a random moment. A rule says of each freeze, from the
CKA curve of the same layer in a recorded run of the task, whether the layer had converged. The
better the rule, the better the freezes it calls wrong explain the accuracy that was lost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from scipy.stats import spearmanr
from torch import Tensor

from bench.errors import UserError
from bench.planning.sweep import Sweep
from bench.results.run_folder import RunFolder
from bench.spec import FULL
from strategies.smartfrz.training.held_out import compute_interval
from strategies.smartfrz.training.labels import Rule

AS_USED = "as used"  # the recorded runs that train as the harmed ones do
PairKey = tuple[str, str]  # family, task


@dataclass(frozen=True)
class FreezeHarm:
    """A run that froze at random. lost: points of accuracy below full training with its seed.

    moments (L,): fraction of the run after which each layer froze; 1 if never. The head is out.
    """

    pair: PairKey
    lost: float
    moments: Tensor


def list_rules() -> dict[str, Rule | None]:
    """Rules by name; None calls every freeze wrong."""
    rules: dict[str, Rule | None] = {"none": None}
    for k, epsilon, smooth in product((2, 3, 4, 6), (0.003, 0.01, 0.03), (1, 3)):
        name = f"stable, k = {k}, ε = {epsilon}" + (", smoothed" if smooth > 1 else "")
        rules[name] = Rule("stable", k, epsilon, smooth)
    for epsilon in (0.005, 0.01, 0.02, 0.05):
        rules[f"settled, ε = {epsilon}"] = Rule("settled", epsilon=epsilon)
    return rules


def measure_wrong_freezing(
    rule: Rule | None, curve: Tensor, probes: Tensor, moments: Tensor
) -> float:
    """How much a run froze wrongly: the fraction of layer-time frozen by wrong freezes.

    curve (S, L): CKA at probes (S,), fractions of the run. A freeze is judged at the last probe
    before it; before a rule can know, it calls a freeze wrong.
    """
    if rule is None:
        bad = torch.ones_like(moments, dtype=torch.bool)
    else:
        label, known = rule.labels(curve)
        places = torch.searchsorted(probes, moments.double(), right=True) - 1
        layers = torch.arange(len(moments))
        bad = ~(label & known)[places.clamp(min=0), layers]
    return float(((1 - moments) * bad).mean())


def read_harmed(sweep: Sweep, results: Path) -> list[FreezeHarm]:
    """The randomly frozen runs of a sweep, with what they lost; UserError if one is missing."""
    full: dict[tuple[str, str, int], float] = {}
    frozen = []
    for entry in sweep.entries:
        folder = RunFolder(results, entry.spec.id)
        if not folder.done or folder.diverged:
            raise UserError(f"{entry.spec.label}: run {entry.spec.id} has no accuracy")
        result, roles = folder.result(), entry.roles
        pair = roles["model"], roles["dataset"]
        if entry.spec.strategy_name == FULL:
            full[*pair, entry.spec.seed] = result["accuracy"]
        else:
            frozen.append((pair, entry.spec.seed, result))
    return [
        FreezeHarm(pair, full[*pair, seed] - result["accuracy"], _read_moments(result))
        for pair, seed, result in frozen
    ]


def _read_moments(result: Mapping[str, Any]) -> Tensor:
    at = [layer["frozen_at_step"] for layer in result["layers"][:-1]]  # the head is the last
    return torch.tensor([1.0 if step is None else step / result["steps"] for step in at])


def read_curves(sweep: Sweep, results: Path) -> dict[PairKey, tuple[Tensor, Tensor]]:
    """CKA curves (S, L) and their probes (S,) of the recorded runs that train as used, by pair."""
    curves = {}
    for entry in sweep.entries:
        if entry.roles["method"] == AS_USED:
            trace = load_file(RunFolder(results, entry.spec.id).path / "trace.safetensors")
            key = entry.roles["model"], entry.roles["dataset"]
            curves[key] = trace["cka"], trace["probes"]
    return curves


def rank_rules(
    harmed: Sequence[FreezeHarm], curves: Mapping[PairKey, tuple[Tensor, Tensor]]
) -> list[tuple[str, float, float, float]]:
    """Rules, best first: name, mean over pairs of Spearman's ρ between wrong freezing and points
    lost with its 95 % half-width, and the mean fraction of layer-time frozen wrongly.
    """
    rows = []
    for name, rule in list_rules().items():
        correlations, amounts = [], []
        for pair in dict.fromkeys(h.pair for h in harmed):
            here = [h for h in harmed if h.pair == pair]
            frozen = [measure_wrong_freezing(rule, *curves[pair], h.moments) for h in here]
            amounts += frozen
            if len(set(frozen)) > 1:
                rho = spearmanr(frozen, [h.lost for h in here]).statistic
            else:
                rho = 0.0  # a rule that calls nothing wrong explains nothing
            correlations.append(float(rho))
        rows.append((name, *compute_interval(correlations), sum(amounts) / len(amounts)))
    return sorted(rows, key=lambda row: -row[1])


def format_ranking(rows: Sequence[tuple[str, float, float, float]]) -> str:
    """The ranking as text."""
    lines = [f"{'rule':34}{'ρ with points lost':>20}{'frozen wrongly':>18}"]
    lines += [f"{name:34}{f'{rho:+.2f} ± {half:.2f}':>20}{amount:18.1%}"
              for name, rho, half, amount in rows]  # fmt: skip
    return "\n".join(lines)
