"""`make predictor`: from source tasks to a predictor file, with its held-out scores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from bench.errors import UserError
from bench.results import RunFolder
from bench.spec import RESULTS_VERSION, Spec
from bench.sweep import Sweep, load_sweep
from strategies.smartfrz.corpus import Histories, Recording, histories
from strategies.smartfrz.labels import Rule
from strategies.smartfrz.record import Record
from strategies.smartfrz.scores import Score, held_out, interval, judges, table, threshold
from strategies.smartfrz.shipped import DEFAULT_FEATURES, Trained, save, shipped_path
from strategies.smartfrz.training import Recipe, train

SWEEP = "predictor"
SOURCES = ("glyphs",)  # data sets, before any colon, that no table reports on
RULE = Rule()
RECIPE = Recipe(epochs=24, batch=16, lr=3e-3)
WARMUP = 0.1  # fraction of a run in which nothing is judged: the first of ten epochs
WRONG = 0.1  # share of layers that may freeze before they converged, on held-out runs


def build(
    profile: str,
    results: Path,
    launch: Callable[[Sequence[Spec], Path], Any],
    *,
    out: Path | None = None,
    features: str = DEFAULT_FEATURES,
    rule: Rule = RULE,
    recipe: Recipe = RECIPE,
    say: Callable[[str], None] = print,
) -> Path:
    """Train a predictor on a profile's source tasks and write it; what is done is not redone.

    launch: makes the missing runs of a list. out: where the file goes; default: the shipped one's
    place. Raises UserError if runs are missing in the end, or a source is no source task.
    """
    sweep = load_sweep(SWEEP, profile)
    refuse_targets(sweep)
    launch(sweep.specs, results)
    recordings = read_recordings(sweep, results, say)
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
    tailored = recordings[0].trace["snapshots"].shape[2]
    path = out or shipped_path(profile, features, recipe.window, tailored, exactly=True)
    facts = {
        "profile": profile,
        "features": features,
        "window": recipe.window,
        "tailored": tailored,
        "snapshots_per_epoch": Record.options["snapshots_per_epoch"].default,
        "threshold": limit,
        "rule": asdict(rule),
        "recipe": asdict(recipe),
        "data": sorted({e.spec.data for e in sweep.entries}),
        "pretraining": sorted({s.data for s in sweep.artifacts}),
        "runs": sorted(r.run for r in recordings),
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
    sweep: Sweep, results: Path, say: Callable[[str], None] = print
) -> list[Recording]:
    """The recorded runs of a sweep; a diverged one is told and left out."""
    recordings = []
    for entry in sweep.entries:
        folder = RunFolder(results, entry.spec.id)
        if not folder.done:
            raise UserError(f"{entry.spec.label}: run {entry.spec.id} is not done; run this again")
        if folder.diverged:
            say(f"left out, since it diverged: {entry.spec.label}")
            continue
        trace = load_file(folder.path / "trace.safetensors")
        roles = entry.roles
        recordings.append(Recording(entry.spec.id, roles["model"], roles["dataset"], trace))
    return recordings


def score(corpus: Histories, recipe: Recipe) -> tuple[dict[str, Score], float]:
    """The predictor's and the baselines' held-out scores, and the calibrated threshold."""
    scores, limit = {}, 0.5
    for name, judge in judges(recipe).items():
        scores[name], judged = held_out(corpus, judge)
        if name == "predictor":
            limit = threshold(corpus, judged, WRONG)
    return scores, limit


def _summary(score: Score) -> dict[str, Any]:
    """A score in a few numbers, rounded so that the file is the same on every machine."""
    mean, half = interval(list(score.auroc.values()))
    return {
        "mean_fold_auroc": round(score.mean_fold, 3),
        "folds": {k: round(v, 3) for k, v in score.folds.items()},
        "run_auroc": [round(mean, 3), round(half, 3)],
        "run_average_precision": [round(v, 3) for v in interval(list(score.precision.values()))],
    }
