"""Training of a predictor on source tasks, with held-out scores, for `make predictor`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from bench.errors import UserError
from bench.options import make_unknown_error
from bench.planning.sweep import Sweep
from bench.planning.sweep_files import load_profile
from bench.revisions import RESULTS_VERSION
from bench.spec import Spec
from strategies.smartfrz.predictor_file import (
    DEFAULT_FEATURES,
    SHIPPED_FEATURES,
    Trained,
    find_predictor,
    prepare_place,
    save_predictor,
)
from strategies.smartfrz.training.calibration import calibrate_threshold
from strategies.smartfrz.training.corpus import Histories, build_histories
from strategies.smartfrz.training.fit import PredictorTraining, fit_predictor
from strategies.smartfrz.training.held_out import (
    Score,
    compute_interval,
    find_groups,
    format_scores,
    score_held_out,
)
from strategies.smartfrz.training.held_out_groups import CHOOSING
from strategies.smartfrz.training.labels import Rule
from strategies.smartfrz.training.source_runs import (
    check_recorded,
    list_pretraining,
    load_recordings,
    load_source_sweep,
    read_shared_option,
    refuse_long_rule,
)

RULE = Rule()
DEFAULT_TRAINING = PredictorTraining()
UNLABELLED_SHARE = 0.1  # fraction of a run, from its start, without labels: one of ten epochs
TAILORED = 1024
WINDOWS = (20, 40, 50)  # windows of Table 4 other than the default, 30
SIZES = (512, 2048, 4096)  # numbers of tailored weights of Table 5 other than the default, 1,024
ARGMAX = 0.5
WRONG = 0.1  # fraction of freezes on held-out runs that may come before convergence


@dataclass(frozen=True)
class PredictorConfig:
    """Settings of a predictor to train.

    profile: profile whose source tasks are used.
    features: name of a feature set.
    tailored: weights per layer.
    training: hyperparameters.
    rule: label rule.
    files: as for `load_sweep`.
    decision: "calibrated" for a threshold chosen on held-out runs, or "argmax" for the threshold
        0.5.
    unlabelled_share: fraction of a run, from its start, without labels.
    recipe: a key of SHIPPED_FEATURES, which names the shipped file.
    """

    profile: str = "laptop"
    features: str = DEFAULT_FEATURES
    tailored: int = TAILORED
    training: PredictorTraining = DEFAULT_TRAINING
    rule: Rule = RULE
    files: Mapping[str, str] = field(default_factory=dict)
    decision: str = "calibrated"
    unlabelled_share: float = UNLABELLED_SHARE
    recipe: str = "default"

    @property
    def profile_name(self) -> str:
        """Name of the profile, also if `profile` is the path of a file."""
        return str(load_profile(self.profile)["name"])


# The paper's form (sections 3.3, 3.4 and 4.1). The paper does not name k, ε, the learning rate, its
# schedule and the number of epochs.
AS_PUBLISHED = PredictorConfig(
    features=SHIPPED_FEATURES["published"],
    training=PredictorTraining(
        batch=32,
        optimizer="sgd",
        lr=0.01,
        weight_decay=0.0,
        standardise=False,
        schedule="constant",
        clip=0.0,
    ),
    rule=Rule(estimator="biased", every=2),
    decision="argmax",
    unlabelled_share=0.0,
    recipe="published",
)


def list_variants(config: PredictorConfig) -> list[PredictorConfig]:
    """Return the additional predictors for Table 4 (other windows) and Table 5 (other sizes)."""
    windows = [replace(config, training=replace(config.training, window=w)) for w in WINDOWS]
    return [*windows, *(replace(config, tailored=n) for n in SIZES)]


def build_predictor(
    config: PredictorConfig,
    results: Path,
    launch: Callable[[Sequence[Spec], Path], Any],
    *,
    out: Path | None = None,
    without_family: str = "",
    without_task: str = "",
    report_line: Callable[[str], None] = print,
) -> Path:
    """Train a predictor on a profile's source tasks, write its file and return the path.

    launch: function that executes the missing runs of a list of specs.
    out: path of the file (default: that of the shipped predictor).
    without_family: model family to leave out.
    without_task: first word of the names of the tasks to leave out.
    report_line: function that prints a line of progress.
    Raises UserError if a run is missing or uses other data than source tasks.
    """
    features, rule, training = config.features, config.rule, config.training
    sweep = load_source_sweep(config.profile, config.files)
    size = features, training.window, config.tailored
    path = out or find_predictor(config.profile_name, *size, exactly=True, recipe=config.recipe)
    _check_left_out(sweep, config.profile, out, without_family, without_task)
    check_recorded(sweep)
    refuse_long_rule(sweep, rule)
    prepare_place(path)
    recordings = [
        r
        for r in load_recordings(sweep, results, launch, config.tailored, report_line)
        if r.origin.family != without_family and r.origin.task.split()[0] != without_task
    ]
    corpus = build_histories(recordings, features, training.window, rule, config.unlabelled_share)
    require_both_labels(corpus, rule)
    specs = [e.spec for e in sweep.entries if e.spec.id in {r.origin.run for r in recordings}]
    report_line(_describe_corpus(corpus, rule))
    scores, limit = _choose_threshold(corpus, config, report_line)
    network = fit_predictor(corpus, training)
    facts = {
        "profile": config.profile_name,
        "features": features,
        "window": training.window,
        "tailored": config.tailored,
        "snapshots_per_epoch": read_shared_option(sweep, "snapshots_per_epoch"),
        "probes_per_epoch": read_shared_option(sweep, "probes_per_epoch"),
        "threshold": limit,
        "decision": config.decision if scores else "argmax",  # see _choose_threshold
        "label_warmup": config.unlabelled_share,
        "rule": asdict(rule),
        "recipe": asdict(training),  # older than the option `recipe` of the strategy
        "data": sorted({spec.data for spec in specs}),
        "pretraining": list_pretraining(sweep),
        "runs": sorted({spec.id for spec in specs}),
        "seeds": sorted({spec.seed for spec in specs}),
        "results_version": RESULTS_VERSION,
        "scores": {name: _summarise_score(s) for name, s in scores.items()},
    }
    save_predictor(path, Trained(network, facts))
    report_line(f"wrote {path}")
    return path


def _check_left_out(
    sweep: Sweep, profile: str, out: Path | None, without_family: str, without_task: str
) -> None:
    """Raise UserError if the family or task to leave out has no run in a sweep.

    Also raises it if no other family is left, or if a family is left out and `out` is not given.
    """
    families = {entry.roles["model"].split()[0] for entry in sweep.entries}
    if without_family and (without_family not in families or not out):
        raise UserError(
            f"--without-family {without_family} needs --out FILE and the name of a recorded "
            f"family; give both (families: {', '.join(sorted(families))})"
        )
    if families == {without_family}:
        raise UserError(
            f"profile {profile}: no training data is left without {without_family}, the "
            "only recorded family; remove --without-family"
        )
    tasks = {entry.roles["dataset"].split()[0] for entry in sweep.entries}
    if without_task and without_task not in tasks:
        raise make_unknown_error("recorded task", without_task, sorted(tasks))


def _describe_corpus(corpus: Histories, rule: Rule) -> str:
    """Return the size of the training data as one line of text."""
    share = float(corpus.label[corpus.known].float().mean())
    return (
        f"training data: {len(corpus.origins)} recorded runs, {len(corpus.tokens)} layers, "
        f"{int(corpus.known.sum())} labels, {share:.0%} of them converged ({rule})"
    )


def require_both_labels(corpus: Histories, rule: Rule) -> None:
    """Raise UserError unless some layers are labelled as converged and some as not converged."""
    if found := corpus.describe_one_label():
        raise UserError(
            f"{found} ({rule}), so there is nothing to learn; change --k, --epsilon or "
            "--unlabelled-share"
        )


def _choose_threshold(
    corpus: Histories, config: PredictorConfig, report_line: Callable[[str], None]
) -> tuple[dict[str, Score], float]:
    """Return the held-out scores by classifier, and the P(freeze) from which a layer freezes.

    If no run can be held out, for example with a single family and a single task, no scores are
    returned. The threshold is then 0.5, as for "argmax".
    """
    groups, left_out = find_groups(corpus, CHOOSING)
    for line in left_out:
        report_line(line)
    if groups:
        scores = score_held_out(corpus, config.training, splits=CHOOSING)
        report_line(format_scores(scores))
        if config.decision == "argmax":
            return scores, ARGMAX
        limit, froze, early = calibrate_threshold(corpus, scores["predictor"].predicted, WRONG)
        report_line(
            f"threshold {limit:.2f}: {early} of {froze} freezes in held-out runs come before "
            f"convergence (limit {WRONG:.0%}"
            + (")" if early <= WRONG * froze else "; no threshold keeps below it)")
        )
        if not froze:
            report_line(
                "warning: no layer of a held-out run freezes at this threshold; the predictor may "
                "never freeze a layer"
            )
        return scores, limit
    report_line(
        "no recorded run can be held out, so the threshold is not calibrated: it is 0.5 (argmax)"
    )
    return {}, ARGMAX


def _summarise_score(score: Score) -> dict[str, Any]:
    """Return a score as a few numbers, rounded so that all machines write the same file."""
    splits = sorted({split for split, _ in score.groups})
    auroc, precision = (
        [round(value, 3) for value in compute_interval(score.average_by_run(of, splits))]
        for of in (score.auroc, score.precision)
    )
    return {
        "mean_fold_auroc": round(score.average_groups(splits), 3),
        "folds": {" ".join(k): round(v, 3) for k, v in score.groups.items()},
        "run_auroc": auroc,
        "run_average_precision": precision,
    }
