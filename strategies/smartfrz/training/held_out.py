"""Held-out scores of the predictor, and of baselines that need no predictor.

A judge is a function that fits a classifier on some histories. It returns the P(freeze) of the
classifier for other histories. A moment is a time in a run at which one layer is classified.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import parent_process
from threading import Thread

import torch
import torch.multiprocessing
from scipy.stats import t as student
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, roc_auc_score
from torch import Tensor

from bench.errors import UserError
from bench.machine.environment import count_cores
from strategies.smartfrz.training.corpus import Histories
from strategies.smartfrz.training.fit import PredictorRecipe, fit_predictor, predict_probabilities
from strategies.smartfrz.training.folds import CHOOSING, Fold, make_folds

Judge = Callable[[Histories, Histories], Tensor]


@dataclass(frozen=True)
class Score:
    """Held-out scores of one judge.

    For each fold, the classifier is fitted without the runs of the fold.

    folds: AUROC over all moments of a fold, by split and fold.
    auroc, precision: AUROC and average precision of each run that has both labels, by split and
    run. Intervals are taken over runs, because the moments of one run are not independent.
    judged: held-out P(freeze) (N, S) of N layers at S moments, by split. The rows of runs in folds
    that were left out are NaN. Splits without a fold are missing.
    """

    folds: Mapping[tuple[str, str], float]
    auroc: Mapping[tuple[str, str], float]
    precision: Mapping[tuple[str, str], float]
    judged: Mapping[str, Tensor]

    def average_folds(self, splits: Sequence[str] = CHOOSING) -> float:
        """Return the mean AUROC over the folds of a split, averaged over the splits with folds."""
        found = [[v for (s, _), v in self.folds.items() if s == split] for split in splits]
        return _compute_mean([_compute_mean(values) for values in found if values])

    def average_by_run(
        self, values: Mapping[tuple[str, str], float], splits: Sequence[str] = CHOOSING
    ) -> list[float]:
        """Return one value per run, averaged over the splits in which the run is held out.

        values: `auroc` or `precision`, or differences of one of them, by split and run. A run is
        held out once per split. If each time counted separately, one run would count as several
        independent runs.
        """
        runs = sorted({run for split, run in values if split in splits})
        return [
            _compute_mean([values[s, run] for s in splits if (s, run) in values]) for run in runs
        ]

    def find_worst_fold(self, splits: Sequence[str] = CHOOSING) -> float:
        """Return the lowest AUROC of any fold of the splits."""
        return min(v for (split, _), v in self.folds.items() if split in splits)


def make_judges(recipe: PredictorRecipe) -> dict[str, Judge]:
    """Return the predictor and the baselines as judges, by name.

    The baselines are logistic regressions on the progress of the run, on the displacement of the
    layer within the window, and on both.
    """
    return {
        "predictor": lambda fit, held: predict_probabilities(
            fit_predictor(fit, recipe), held, recipe.window
        ),
        "progress alone": lambda fit, held: _fit_logistic(fit, held, ["progress"]),
        "displacement alone": lambda fit, held: _fit_logistic(fit, held, ["moved"]),
        "both": lambda fit, held: _fit_logistic(fit, held, ["progress", "moved"]),
    }


def find_folds(histories: Histories, splits: Sequence[str]) -> tuple[list[Fold], list[str]]:
    """Return the folds of some splits, and a line for each fold that is left out.

    A fold is left out if its training runs do not have both labels, or its held-out runs have no
    label.
    """
    folds, left_out = [], []
    for fold in (fold for split in splits for fold in make_folds(histories.origins, split)):
        fit, held = histories.select_runs(fold.fit), histories.select_runs(fold.held)
        if not fold.fit:
            reason = "no run is left to train on"
        elif found := fit.describe_one_label():
            reason = f"in its training part, {found}"
        elif not held.known.any():
            reason = "its held-out part has no labels"
        else:
            folds.append(fold)
            continue
        left_out.append(f"left out the fold {fold.name} of the split {fold.split}: {reason}")
    return folds, left_out


def score_held_out(
    histories: Histories,
    recipe: PredictorRecipe,
    names: Sequence[str] = ("predictor", "progress alone", "displacement alone", "both"),
    splits: Sequence[str] = CHOOSING,
) -> dict[str, Score]:
    """Compute the scores of the judges on every fold of some splits.

    Folds run in parallel on all cores. Folds that `find_folds` leaves out have no score.

    names: judges from `make_judges`. splits: keys of SPLITS. Raises UserError if no fold is left.
    """
    folds = find_folds(histories, splits)[0]
    if not folds:
        raise UserError(
            "no recorded run can be held out, because the other runs do not have both labels "
            "(converged and not converged); add families or tasks to the sweep of recorded runs"
        )
    jobs = [(fold, name) for fold in folds for name in names]
    context = torch.multiprocessing.get_context("forkserver")  # passes tensors in shared memory
    with ProcessPoolExecutor(count_cores(), context, _init_worker, (histories, recipe)) as pool:
        answers = list(pool.map(_judge_fold, jobs))
    scores = {}
    for name in names:
        judged = {
            fold.split: torch.full(histories.label.shape, math.nan, dtype=torch.float64)
            for fold in folds
        }
        parts = [(fold, p) for (fold, n), p in zip(jobs, answers, strict=True) if n == name]
        for fold, p in parts:
            judged[fold.split][_find_rows(histories, fold.held)] = p
        scores[name] = _compute_score(histories, [fold for fold, _ in parts], judged)
    return scores


_shared: tuple[Histories, PredictorRecipe]


def _init_worker(histories: Histories, recipe: PredictorRecipe) -> None:
    global _shared  # safe, because a worker process serves a single call of score_held_out
    _shared = histories, recipe
    Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)  # folds share the cores, and the thread count changes rounding


def _end_with_parent() -> None:
    """End this worker process when its parent process has ended for any reason."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _judge_fold(job: tuple[Fold, str]) -> Tensor:
    histories, recipe = _shared
    fold, name = job
    fit, held = histories.select_runs(fold.fit), histories.select_runs(fold.held)
    return make_judges(recipe)[name](fit, held).double()


def _compute_score(
    histories: Histories, parts: Sequence[Fold], judged: Mapping[str, Tensor]
) -> Score:
    of_fold, auroc, precision = {}, {}, {}
    for fold in parts:
        p = judged[fold.split]
        rows = _find_rows(histories, fold.held)
        of_fold[fold.split, fold.name] = compute_auroc(
            histories, p, histories.known & rows[:, None]
        )
        for run in fold.held:
            moments = histories.known & (histories.run == run)[:, None]
            label = histories.label[moments]
            if label.any() and not label.all():
                key = (fold.split, histories.origins[run].run)
                auroc[key] = compute_auroc(histories, p, moments)
                precision[key] = float(average_precision_score(label, p[moments]))
    return Score(of_fold, auroc, precision, judged)


def _find_rows(histories: Histories, runs: Sequence[int]) -> Tensor:
    return torch.isin(histories.run, torch.tensor(list(runs)))


def compute_interval(values: Sequence[float]) -> tuple[float, float]:
    """Return the mean and the half-width of its 95 % t interval.

    The half-width is NaN for a single value. Without values, mean and half-width are NaN.
    """
    n = len(values)
    mean = _compute_mean(values)
    if n < 2:
        return mean, math.nan
    deviation = math.sqrt(sum((v - mean) ** 2 for v in values) / (n - 1))
    return mean, float(student.ppf(0.975, n - 1)) * deviation / math.sqrt(n)


def compare_scores(
    score: Score, other: Score, splits: Sequence[str] = CHOOSING
) -> tuple[float, float]:
    """Return the mean difference in AUROC, score − other, and the half-width of its 95 % interval.

    The difference is paired by run. The values of a run are averaged over the splits first.
    """
    gaps = {key: score.auroc[key] - other.auroc[key] for key in score.auroc}
    return compute_interval(score.average_by_run(gaps, splits))


def format_scores(scores: Mapping[str, Score], splits: Sequence[str] = CHOOSING) -> str:
    """Return the scores as a text table: averages over the splits, then AUROC by fold.

    The last column is the AUROC of the first judge minus that of the judge in the row.
    """
    lines = [
        f"{'':22}{'mean fold':>10}{'worst fold':>11}{'AUROC per run':>17}"
        f"{'average precision':>20}{'difference':>17}"
    ]
    first = next(iter(scores.values()))
    for name, score in scores.items():
        per_run, precise = (
            compute_interval(score.average_by_run(of, splits))
            for of in (score.auroc, score.precision)
        )
        gap = (
            ""
            if score is first
            else "{:+.3f} ± {:.3f}".format(*compare_scores(first, score, splits))
        )
        lines.append(
            f"{name:22}{score.average_folds(splits):10.3f}{score.find_worst_fold(splits):11.3f}"
            f"{per_run[0]:9.3f} ± {per_run[1]:.3f}{precise[0]:12.3f} ± {precise[1]:.3f}{gap:>17}"
        )
    lines.append("AUROC by fold:")
    for split, fold in first.folds:
        if split in splits:
            values = (f"{name} {score.folds[split, fold]:.2f}" for name, score in scores.items())
            lines.append(f"  {f'{split} {fold}':34}" + "  ".join(values))
    return "\n".join(lines)


def _compute_mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def compute_auroc(histories: Histories, p: Tensor, moments: Tensor) -> float:
    """Return the AUROC of scores p (N, S) at some moments, bool (N, S); NaN if all labels agree."""
    label = histories.label[moments]
    if label.all() or not label.any():
        return math.nan
    return float(roc_auc_score(label, p[moments]))


def _fit_logistic(fit: Histories, held: Histories, names: Sequence[str]) -> Tensor:
    """Return P(freeze) (N, S) for `held`, by a logistic regression fitted on `fit`.

    names: fields of Histories that are the inputs of the regression.
    """
    inputs, asked = (torch.stack([getattr(h, name) for name in names], dim=-1) for h in (fit, held))
    model = LogisticRegression().fit(inputs[fit.known].numpy(), fit.label[fit.known].numpy())
    p = model.predict_proba(asked.reshape(-1, len(names)).numpy())[:, 1]
    return torch.from_numpy(p).reshape(held.label.shape)
