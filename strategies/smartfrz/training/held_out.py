"""Held-out scores of the predictor, and of baselines that need no predictor.

A classifier is a function that is fitted on some histories and returns its P(freeze) for other
histories. A moment is a time in a run at which one layer is classified.
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
from strategies.smartfrz.training.fit import PredictorTraining, fit_predictor, predict_probabilities
from strategies.smartfrz.training.held_out_groups import CHOOSING, HeldOutGroup, make_groups

Classifier = Callable[[Histories, Histories], Tensor]


@dataclass(frozen=True)
class Score:
    """Held-out scores of one classifier.

    For each group, the classifier is fitted without the runs of the group. Intervals are taken over
    runs, because the moments of one run are not independent.

    groups: AUROC over all moments of a group, by split and group. Groups of one label
        are missing.
    auroc: AUROC of each run that has both labels, by split and run.
    precision: average precision of each of these runs, by split and run.
    predicted: held-out P(freeze) (N, S) of N layers at S moments, by split. The rows of runs in
        groups that were left out are NaN. Splits without a group are missing.
    """

    groups: Mapping[tuple[str, str], float]
    auroc: Mapping[tuple[str, str], float]
    precision: Mapping[tuple[str, str], float]
    predicted: Mapping[str, Tensor]

    def average_groups(self, splits: Sequence[str] = CHOOSING) -> float:
        """Return the mean over the splits with groups of the mean AUROC over their groups."""
        found = [[v for (s, _), v in self.groups.items() if s == split] for split in splits]
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

    def find_worst_group(self, splits: Sequence[str] = CHOOSING) -> float:
        """Return the lowest AUROC of any group of the splits; NaN if no group has an AUROC."""
        found = [v for (split, _), v in self.groups.items() if split in splits]
        return min(found, default=math.nan)


def make_classifiers(training: PredictorTraining) -> dict[str, Classifier]:
    """Return the predictor and the baselines as classifiers, by name.

    The baselines are logistic regressions on the progress of the run, on the displacement of the
    layer within the window, and on both.
    """
    return {
        "predictor": lambda fit, held: predict_probabilities(
            fit_predictor(fit, training), held, training.window
        ),
        "progress alone": lambda fit, held: _fit_logistic(fit, held, ["progress"]),
        "displacement alone": lambda fit, held: _fit_logistic(fit, held, ["moved"]),
        "both": lambda fit, held: _fit_logistic(fit, held, ["progress", "moved"]),
    }


def find_groups(
    histories: Histories, splits: Sequence[str]
) -> tuple[list[HeldOutGroup], list[str]]:
    """Return the groups of some splits, and a line for each group without AUROC.

    A group is left out if its training runs do not have both labels, or its held-out runs have no
    label. A group whose held-out runs have one label only has no AUROC, but counts for the
    threshold.
    """
    groups, left_out = [], []
    for group in (group for split in splits for group in make_groups(histories.origins, split)):
        fit, held = histories.select_runs(group.fit), histories.select_runs(group.held)
        if not group.fit:
            reason = "no run is left to train on"
        elif found := fit.describe_one_label():
            reason = f"in its training part, {found}"
        elif not held.known.any():
            reason = "its held-out part has no labels"
        else:
            groups.append(group)
            if found := held.describe_one_label():
                left_out.append(
                    f"the group {group.name} of the split {group.split} has no AUROC: in its "
                    f"held-out part, {found}"
                )
            continue
        left_out.append(f"left out the group {group.name} of the split {group.split}: {reason}")
    return groups, left_out


def score_held_out(
    histories: Histories,
    training: PredictorTraining,
    names: Sequence[str] = ("predictor", "progress alone", "displacement alone", "both"),
    splits: Sequence[str] = CHOOSING,
) -> dict[str, Score]:
    """Compute the scores of the classifiers on every group of some splits.

    Groups run in parallel on all cores. Groups that `find_groups` leaves out have no score.

    names: keys of `make_classifiers`.
    splits: keys of SPLITS.
    Raises UserError if no group is left.
    """
    groups = find_groups(histories, splits)[0]
    if not groups:
        raise UserError(
            "no recorded run can be held out, because the other runs do not have both labels "
            "(converged and not converged); add families or tasks to the sweep of recorded runs"
        )
    jobs = [(group, name) for group in groups for name in names]
    context = torch.multiprocessing.get_context("forkserver")  # passes tensors in shared memory
    with ProcessPoolExecutor(count_cores(), context, _init_worker, (histories, training)) as pool:
        answers = list(pool.map(_predict_group, jobs))
    scores = {}
    for name in names:
        predicted = {
            group.split: torch.full(histories.label.shape, math.nan, dtype=torch.float64)
            for group in groups
        }
        parts = [(group, p) for (group, n), p in zip(jobs, answers, strict=True) if n == name]
        for group, p in parts:
            predicted[group.split][_find_rows(histories, group.held)] = p
        scores[name] = _compute_score(histories, [group for group, _ in parts], predicted)
    return scores


_shared: tuple[Histories, PredictorTraining]


def _init_worker(histories: Histories, training: PredictorTraining) -> None:
    global _shared  # safe, because a worker process serves a single call of score_held_out
    _shared = histories, training
    Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)  # groups share the cores, and the thread count changes rounding


def _end_with_parent() -> None:
    """End this worker process when its parent process has ended for any reason."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _predict_group(job: tuple[HeldOutGroup, str]) -> Tensor:
    histories, training = _shared
    group, name = job
    fit, held = histories.select_runs(group.fit), histories.select_runs(group.held)
    return make_classifiers(training)[name](fit, held).double()


def _compute_score(
    histories: Histories, parts: Sequence[HeldOutGroup], predicted: Mapping[str, Tensor]
) -> Score:
    of_group, auroc, precision = {}, {}, {}
    for group in parts:
        p = predicted[group.split]
        rows = _find_rows(histories, group.held)
        of_all = compute_auroc(histories, p, histories.known & rows[:, None])
        if not math.isnan(of_all):
            of_group[group.split, group.name] = of_all
        for run in group.held:
            moments = histories.known & (histories.run == run)[:, None]
            label = histories.label[moments]
            if label.any() and not label.all():
                key = (group.split, histories.origins[run].run)
                auroc[key] = compute_auroc(histories, p, moments)
                precision[key] = float(average_precision_score(label, p[moments]))
    return Score(of_group, auroc, precision, predicted)


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


def format_scores(scores: Mapping[str, Score]) -> str:
    """Return the scores as a text table: averages over the splits CHOOSING, then AUROC by group.

    The last column is the AUROC of the first classifier minus that of the one in the row.
    """
    lines = [
        f"{'':22}{'mean group':>12}{'worst group':>13}{'AUROC per run':>17}"
        f"{'average precision':>20}{'difference':>17}"
    ]
    first = next(iter(scores.values()))
    for name, score in scores.items():
        per_run, precise = (
            compute_interval(score.average_by_run(of)) for of in (score.auroc, score.precision)
        )
        gap = "" if score is first else "{:+.3f} ± {:.3f}".format(*compare_scores(first, score))
        lines.append(
            f"{name:22}{score.average_groups():12.3f}{score.find_worst_group():13.3f}"
            f"{per_run[0]:9.3f} ± {per_run[1]:.3f}{precise[0]:12.3f} ± {precise[1]:.3f}{gap:>17}"
        )
    lines.append("AUROC by group:")
    for split, group in first.groups:
        if split in CHOOSING:
            values = (f"{name} {score.groups[split, group]:.2f}" for name, score in scores.items())
            lines.append(f"  {f'{split} {group}':34}" + "  ".join(values))
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
