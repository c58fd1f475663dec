"""`make predictor`: from source tasks to a predictor file, with its held-out scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from bench.errors import UserError
from bench.spec import RESULTS_VERSION, Spec
from strategies.smartfrz.predictor_file import (
    DEFAULT_FEATURES,
    Trained,
    find_predictor,
    save_predictor,
)
from strategies.smartfrz.training.calibration import calibrate_threshold
from strategies.smartfrz.training.corpus import Histories, build_histories
from strategies.smartfrz.training.fit import PredictorRecipe, fit_predictor
from strategies.smartfrz.training.folds import CHOOSING, make_folds
from strategies.smartfrz.training.held_out import (
    Score,
    compute_interval,
    format_scores,
    score_held_out,
)
from strategies.smartfrz.training.labels import Rule
from strategies.smartfrz.training.recorder import Record
from strategies.smartfrz.training.source_runs import load_recordings, load_source_sweep

RULE = Rule()
RECIPE = PredictorRecipe()
WARMUP = 0.1  # fraction of a run in which nothing is judged: the first of ten epochs
TAILORED = 1024
WINDOWS = (20, 40, 50)  # besides 30
SIZES = (512, 2048, 4096)  # besides 1,024
ARGMAX = 0.5
WRONG = 0.1  # share of layers that may freeze before they converged, on held-out runs


@dataclass(frozen=True)
class PredictorConfig:
    """Which predictor: the profile whose source tasks it learns from, what it sees, how it learns.

    tailored: how many of a layer's recorded weights stand for it. files: as for `load_sweep`.
    """

    profile: str = "laptop"
    features: str = DEFAULT_FEATURES
    tailored: int = TAILORED
    recipe: PredictorRecipe = RECIPE
    rule: Rule = RULE
    files: Mapping[str, str] = field(default_factory=dict)


def list_variants(choice: PredictorConfig) -> list[PredictorConfig]:
    """Predictors that Tables 4 and 5 need besides the default: other windows, other sizes."""
    windows = [replace(choice, recipe=replace(choice.recipe, window=w)) for w in WINDOWS]
    return [*windows, *(replace(choice, tailored=n) for n in SIZES)]


def build_predictor(
    choice: PredictorConfig,
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
    sweep = load_source_sweep(choice.profile, choice.files)
    recordings = load_recordings(sweep, results, launch, choice.tailored, say)
    families = {r.origin.family for r in recordings}
    if without_family and (without_family not in families or not out):
        raise UserError(
            f"without family {without_family}: give one of {sorted(families)}, and --out"
        )
    if families == {without_family}:
        raise UserError(
            f"{choice.profile}: all source tasks are of the family {without_family}; without it "
            "nothing is left to learn from"
        )
    recordings = [r for r in recordings if r.origin.family != without_family]
    corpus = build_histories(recordings, features, recipe.window, rule, WARMUP)
    share = float(corpus.label[corpus.known].float().mean())
    say(
        f"{len(recordings)} recorded runs, {len(corpus.tokens)} layers, "
        f"{int(corpus.known.sum())} moments, {share:.0%} of them converged ({rule})"
    )
    scores, limit = _choose_threshold(corpus, recipe, say)
    network = fit_predictor(corpus, recipe)
    path = out or find_predictor(
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
        "scores": {name: _summarise_score(s) for name, s in scores.items()},
    }
    save_predictor(path, Trained(network, facts))
    say(f"written: {path}")
    return path


def _choose_threshold(
    corpus: Histories, recipe: PredictorRecipe, say: Callable[[str], None]
) -> tuple[dict[str, Score], float]:
    """Return held-out scores, and the threshold above which a layer freezes.

    Without a second family or task nothing can be held out, and the threshold is argmax's.
    """
    splits = [split for split in CHOOSING if len(make_folds(corpus.origins, split)) > 1]
    scores = score_held_out(corpus, recipe, splits=splits) if splits else {}
    if scores:
        limit, share = calibrate_threshold(corpus, scores["predictor"].judged, WRONG)
        say(format_scores(scores, splits))
        say(
            f"threshold {limit:.2f}: {share:.1%} of freezes in held-out runs come too early "
            f"({WRONG:.0%} are allowed" + (")" if share <= WRONG else ", and no threshold does)")
        )
        return scores, limit
    say("one family and one task: nothing can be held out; the threshold is argmax's, 0.5")
    return {}, ARGMAX


def _summarise_score(score: Score) -> dict[str, Any]:
    """A score in a few numbers, rounded so that the file is the same on every machine."""
    splits = sorted({split for split, _ in score.folds})
    auroc, precision = (
        [round(value, 3) for value in compute_interval(score.average_by_run(of, splits))]
        for of in (score.auroc, score.precision)
    )
    return {
        "mean_fold_auroc": round(score.average_folds(splits), 3),
        "folds": {" ".join(k): round(v, 3) for k, v in score.folds.items()},
        "run_auroc": auroc,
        "run_average_precision": precision,
    }
