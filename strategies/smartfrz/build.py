"""`make predictor`: from source tasks to a predictor file, with its held-out scores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from bench.errors import UserError
from bench.results import RunFolder
from bench.seeds import seeded
from bench.spec import RESULTS_VERSION, Spec
from bench.sweep import Sweep, load_sweep
from strategies.smartfrz.corpus import Histories, Origin, Recording, histories
from strategies.smartfrz.labels import Rule
from strategies.smartfrz.record import Record
from strategies.smartfrz.scores import Score, held_out, interval, table, threshold
from strategies.smartfrz.shipped import DEFAULT_FEATURES, Trained, save, shipped_path
from strategies.smartfrz.training import Recipe, train

SWEEP = "predictor"
SOURCES = ("glyphs",)  # data sets, before any colon, that no table reports on
RULE = Rule()
RECIPE = Recipe(epochs=24, batch=16, lr=3e-3)
WARMUP = 0.1  # fraction of a run in which nothing is judged: the first of ten epochs
TAILORED = 1024
WRONG = 0.1  # share of layers that may freeze before they converged, on held-out runs


@dataclass(frozen=True)
class Choice:
    """Which predictor: the profile whose source tasks it learns from, what it sees, how it learns.

    tailored: how many of a layer's recorded weights stand for it.
    """

    profile: str = "laptop"
    features: str = DEFAULT_FEATURES
    tailored: int = TAILORED
    recipe: Recipe = RECIPE
    rule: Rule = RULE


def build(
    choice: Choice,
    results: Path,
    launch: Callable[[Sequence[Spec], Path], Any],
    *,
    out: Path | None = None,
    without_family: str = "",
    say: Callable[[str], None] = print,
) -> Path:
    """Train a predictor on a profile's source tasks and write it; what is done is not redone.

    launch: makes the missing runs of a list. out: where the file goes; default: the shipped one's
    place. without_family: left out of the corpus, to see how the predictor does on it.
    Raises UserError if runs are missing in the end, or a source is no source task.
    """
    features, rule, recipe = choice.features, choice.rule, choice.recipe
    sweep = load_sweep(SWEEP, choice.profile)
    refuse_targets(sweep)
    launch(sweep.specs, results)
    recordings = read_recordings(sweep, results, choice.tailored, say)
    families = {r.origin.family for r in recordings}
    if without_family and (without_family not in families or not out):
        raise UserError(
            f"without family {without_family}: give one of {sorted(families)}, and --out"
        )
    recordings = [r for r in recordings if r.origin.family != without_family]
    corpus = histories(recordings, features, recipe.window, rule, WARMUP)
    share = float(corpus.label[corpus.known].float().mean())
    say(
        f"{len(recordings)} recorded runs, {len(corpus.tokens)} layers, "
        f"{int(corpus.known.sum())} moments, {share:.0%} of them converged ({rule})"
    )
    scores, limit = score(corpus, recipe)
    say(table(scores))
    say(f"threshold {limit:.2f}: at most {WRONG:.0%} of held-out layers freeze too early")
    network = train(corpus, recipe)
    path = out or shipped_path(
        choice.profile, features, recipe.window, choice.tailored, exactly=True
    )
    facts = {
        "profile": choice.profile,
        "features": features,
        "window": recipe.window,
        "tailored": choice.tailored,
        "snapshots_per_epoch": Record.options["snapshots_per_epoch"].default,
        "threshold": limit,
        "rule": asdict(rule),
        "recipe": asdict(recipe),
        "data": sorted({e.spec.data for e in sweep.entries}),
        "pretraining": sorted({s.data for s in sweep.artifacts}),
        "runs": sorted(r.origin.run for r in recordings),
        "seeds": sorted({e.spec.seed for e in sweep.entries}),
        "results_version": RESULTS_VERSION,
        "scores": {name: _summary(s) for name, s in scores.items()},
    }
    save(path, Trained(network, facts))
    say(f"written: {path}")
    return path


def refuse_targets(sweep: Sweep) -> None:
    """Raise UserError if a run of the corpus, or its backbone, saw anything but source tasks."""
    for spec in sweep.specs:
        if spec.data.partition(":")[0] not in SOURCES:
            raise UserError(
                f"sweep {sweep.name}: {spec.data} is no source task; a predictor that saw it could"
                " not be judged on it. Use variants of " + ", ".join(SOURCES)
            )


def read_recordings(
    sweep: Sweep, results: Path, tailored: int, say: Callable[[str], None] = print
) -> list[Recording]:
    """The recorded runs of a sweep with `tailored` weights a layer; a diverged one is left out.

    A model's role is its family, and which of its kin it is.
    """
    recordings = []
    for entry in sweep.entries:
        folder = RunFolder(results, entry.spec.id)
        if not folder.done:
            raise UserError(f"{entry.spec.label}: run {entry.spec.id} is not done; run this again")
        if folder.diverged:
            say(f"left out, since it diverged: {entry.spec.label}")
            continue
        trace = load_file(folder.path / "trace.safetensors")
        trace["snapshots"] = _some(trace["snapshots"], tailored, entry.spec.id)
        family = entry.roles["model"].split()[0]
        origin = Origin(entry.spec.id, family, entry.roles["dataset"])
        recordings.append(Recording(origin, trace))
    return recordings


def _some(snapshots: Tensor, n: int, run: str) -> Tensor:
    """The same n of a layer's weights in all snapshots (T, L, more)."""
    recorded = snapshots.shape[2]
    if n > recorded:
        raise UserError(f"run {run} recorded {recorded} weights a layer, fewer than {n}")
    chosen = torch.randperm(recorded, generator=seeded("tailored", run))[:n].sort().values
    return snapshots[:, :, chosen]


def score(corpus: Histories, recipe: Recipe) -> tuple[dict[str, Score], float]:
    """The predictor's and the baselines' held-out scores, and the calibrated threshold."""
    scores = held_out(corpus, recipe)
    return scores, threshold(corpus, scores["predictor"].judged, WRONG)


def _summary(score: Score) -> dict[str, Any]:
    """A score in a few numbers, rounded so that the file is the same on every machine."""
    mean, half = interval(list(score.auroc.values()))
    return {
        "mean_fold_auroc": round(score.mean_fold(), 3),
        "folds": {" ".join(k): round(v, 3) for k, v in score.folds.items()},
        "run_auroc": [round(mean, 3), round(half, 3)],
        "run_average_precision": [round(v, 3) for v in interval(list(score.precision.values()))],
    }
