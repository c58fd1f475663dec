"""In-use study: accuracy of runs with predictors on unseen model families, at equal cost.

For each model family a predictor is trained without the family's runs. `smartfrz` then uses it on
that family and on data sets that no predictor was trained on. The controls `at_once` and `random`
are matched to the FLOPs of `smartfrz`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.errors import UserError
from bench.planning.sweep import Entry, load_sweep
from bench.results.run_folder import RunFolder
from bench.spec import Spec
from strategies.smartfrz.training.held_out import compute_interval
from strategies.smartfrz.training.train_predictor import PredictorConfig, build_predictor

SWEEP = "used"
RIVALS = ("at_once", "random")
MARGIN = 0.5  # points of accuracy, as in the tables


@dataclass(frozen=True)
class Pair:
    """Means over seeds for one model on one data set.

    seeds: number of seeds. lost: accuracy below full training by method, in percentage points.
    saved: fraction of full training's FLOPs (exact) that smartfrz saved, after the FLOPs of its
    decisions. gaps: accuracy of smartfrz minus that of each control, in percentage points.
    """

    model: str
    dataset: str
    seeds: int
    lost: Mapping[str, float]
    saved: float
    gaps: Mapping[str, float]


def compare_in_use(
    choice: PredictorConfig,
    results: Path,
    launch: Callable[[Sequence[Spec], Path], Any],
    say: Callable[[str], None] = print,
) -> list[Pair]:
    """Train one predictor per held-out family, launch the missing runs and return the comparison.

    launch: executes a list of specs with a results folder. say: prints progress lines.
    Raises UserError if a run fails or diverges.
    """
    pairs = []
    for family in dict.fromkeys(
        e.roles["model"] for e in load_sweep(SWEEP, choice.profile).entries
    ):
        path = results / "predictors" / f"{choice.profile}-without-{family}.safetensors"
        say(f"training a predictor without the model family {family}:")
        build_predictor(choice, results, launch, out=path, without_family=family, say=say)
        sweep = load_sweep(SWEEP, choice.profile, files={**choice.files, "predictor": str(path)})
        here = [e for e in sweep.entries if e.roles["model"] == family]
        needed = {need for e in here for need in e.spec.needs}
        launch([*(s for s in sweep.artifacts if s.id in needed), *(e.spec for e in here)], results)
        for dataset in dict.fromkeys(e.roles["dataset"] for e in here):
            pairs.append(
                _summarise_pair([e for e in here if e.roles["dataset"] == dataset], results)
            )
    return pairs


def _summarise_pair(entries: Sequence[Entry], results: Path) -> Pair:
    accuracy: dict[str, list[float]] = {}
    saved = []
    for entry in entries:
        result = RunFolder(results, entry.spec.id).result()
        if result["status"] != "done":
            raise UserError(
                f"{entry.spec.label}: run {entry.spec.id} is {result['status']}: "
                f"{result['reason']}; the comparison needs all runs"
            )
        accuracy.setdefault(entry.roles["method"], []).append(result["accuracy"])
        if entry.roles["method"] == "smartfrz":
            flops = result["flops"]
            spent = flops["exact"]["total"] + flops["decide"]
            saved.append(1 - spent / flops["full_exact"])
    mean = {method: sum(values) / len(values) for method, values in accuracy.items()}
    roles = entries[0].roles
    return Pair(
        roles["model"],
        roles["dataset"],
        len(saved),
        {method: mean["full"] - mean[method] for method in ("smartfrz", *RIVALS)},
        sum(saved) / len(saved),
        {rival: mean["smartfrz"] - mean[rival] for rival in RIVALS},
    )


def format_pairs(pairs: Sequence[Pair]) -> str:
    """Return the pairs as a text table, followed by smartfrz − control over all pairs."""
    methods = ("smartfrz", *RIVALS)
    lines = [
        f"{'points lost relative to full training':40}"
        + "".join(f"{m:>10}" for m in methods)
        + "  FLOPs saved   points smartfrz loses per 10 % of FLOPs saved"
    ]
    for pair in pairs:
        lost = "".join(f"{pair.lost[m]:10.2f}" for m in methods)
        price = pair.lost["smartfrz"] / (10 * pair.saved) if pair.saved > 0 else float("nan")
        name = f"{pair.model} {pair.dataset}, {pair.seeds} seeds"
        lines.append(f"{name:40}{lost}{pair.saved:13.1%}{price:16.2f}")
    for rival in RIVALS:
        mean, half = compute_interval([pair.gaps[rival] for pair in pairs])
        verdict = "non-inferior" if mean - half > -MARGIN else "inconclusive"
        verdict = "inferior" if mean + half < -MARGIN else verdict
        verdict = "better" if mean - half > 0 else verdict
        lines.append(
            f"smartfrz − {rival}, over {len(pairs)} pairs: {mean:+.2f} ± {half:.2f} points: "
            f"{verdict}"
        )
    return "\n".join(lines)
