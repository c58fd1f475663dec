"""What a predictor is worth in use: on a family and data sets it never saw, at equal computation.

For each family of models a predictor is trained without it, and freezes its layers on data that no
predictor has seen; beside it freezing by progress alone (`at_once`) and at random, matched to it.
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
    """One model on one data set: means over seeds.

    lost: points of accuracy below full training, by method. saved: share of full training's FLOPs
    (exact, deciding included) that smartfrz saved. gaps: smartfrz minus a rival, in points.
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
    """Train the held-out predictors, make the runs that are not done, and compare."""
    pairs = []
    for family in dict.fromkeys(
        e.roles["model"] for e in load_sweep(SWEEP, choice.profile).entries
    ):
        path = results / "predictors" / f"{choice.profile}-without-{family}.safetensors"
        say(f"a predictor that never saw {family}:")
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
            raise UserError(f"{entry.spec.label}: {result['status']}, {result['reason']}")
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
    """The pairs and what they say together, as text."""
    methods = ("smartfrz", *RIVALS)
    lines = [
        f"points lost to full training{'':12}"
        + "".join(f"{m:>10}" for m in methods)
        + "   FLOPs saved   smartfrz loses per 10 % saved"
    ]
    for pair in pairs:
        lost = "".join(f"{pair.lost[m]:10.2f}" for m in methods)
        price = pair.lost["smartfrz"] / (10 * pair.saved) if pair.saved > 0 else float("nan")
        name = f"{pair.model} {pair.dataset}, {pair.seeds} seeds"
        lines.append(f"{name:40}{lost}{pair.saved:13.1%}{price:16.2f}")
    for rival in RIVALS:
        mean, half = compute_interval([pair.gaps[rival] for pair in pairs])
        verdict = "not worse by the margin" if mean - half > -MARGIN else "cannot be told"
        verdict = "worse by the margin" if mean + half < -MARGIN else verdict
        verdict = "better" if mean - half > 0 else verdict
        lines.append(
            f"smartfrz − {rival}, over {len(pairs)} pairs: {mean:+.2f} ± {half:.2f} points: "
            f"{verdict}"
        )
    return "\n".join(lines)
