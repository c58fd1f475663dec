"""How well a predictor judges runs it never saw, beside what needs no predictor at all."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from scipy.stats import t as student
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, roc_auc_score
from torch import Tensor

from strategies.smartfrz.corpus import Histories
from strategies.smartfrz.training import Recipe, probabilities, train

Judge = Callable[[Histories, Histories], Tensor]
SPLITS = ("family", "task")


@dataclass(frozen=True)
class Score:
    """A judge's held-out score: every run is judged by what was fitted without its like.

    folds: AUROC of each left-out family and task, over all its moments.
    auroc, precision: per run, AUROC and average precision of every run that has both labels, by
    split and run; intervals are over runs, since moments of one run are not independent.
    """

    folds: Mapping[str, float]
    auroc: Mapping[tuple[str, str], float]
    precision: Mapping[tuple[str, str], float]

    @property
    def mean_fold(self) -> float:
        """The mean of both splits' mean AUROC over folds."""
        means = []
        for split in SPLITS:
            of_split = [v for k, v in self.folds.items() if k.startswith(split)]
            means.append(sum(of_split) / len(of_split))
        return sum(means) / len(means)


def judges(recipe: Recipe) -> dict[str, Judge]:
    """The predictor and the baselines, each fitted on some histories to judge others."""
    return {
        "predictor": lambda fit, held: probabilities(train(fit, recipe), held, recipe.window),
        "progress alone": lambda fit, held: _logistic(fit, held, ["progress"]),
        "displacement alone": lambda fit, held: _logistic(fit, held, ["moved"]),
        "both": lambda fit, held: _logistic(fit, held, ["progress", "moved"]),
    }


def held_out(histories: Histories, judge: Judge) -> tuple[Score, dict[str, Tensor]]:
    """Leave out each family and each task in turn.

    Also P(freeze) of every moment (N, S) while its family, or task, was left out, by split.
    """
    folds: dict[str, float] = {}
    auroc: dict[tuple[str, str], float] = {}
    precision: dict[tuple[str, str], float] = {}
    judged: dict[str, Tensor] = {}
    for split in SPLITS:
        groups = [str(getattr(r, split)) for r in histories.recordings]
        judged[split] = torch.zeros(histories.label.shape, dtype=torch.float64)
        for group in sorted(set(groups)):
            out = [i for i, g in enumerate(groups) if g == group]
            fit = histories.of_runs([i for i, g in enumerate(groups) if g != group])
            held = histories.of_runs(out)
            p = judge(fit, held).double()
            judged[split][torch.isin(histories.run, torch.tensor(out))] = p
            folds[f"{split} {group}"] = _auroc(held, p, held.known)
            for run in out:
                moments = held.known & (held.run == run)[:, None]
                label = held.label[moments]
                if label.any() and not label.all():
                    key = (split, histories.recordings[run].run)
                    auroc[key] = _auroc(held, p, moments)
                    precision[key] = float(average_precision_score(label, p[moments]))
    return Score(folds, auroc, precision), judged


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Mean and half-width of its 95 % t interval."""
    n = len(values)
    mean = sum(values) / n
    deviation = math.sqrt(sum((v - mean) ** 2 for v in values) / (n - 1)) if n > 1 else math.nan
    return mean, float(student.ppf(0.975, n - 1)) * deviation / math.sqrt(n)


def difference(score: Score, other: Score) -> tuple[float, float]:
    """Mean difference of per-run AUROC, paired, both splits averaged by run, and its half-width."""
    runs = sorted({run for _, run in score.auroc})
    pairs = [[s.auroc[split, run] for split in SPLITS for s in (score, other)] for run in runs]
    return interval([(a - b + c - d) / 2 for a, b, c, d in pairs])


def threshold(histories: Histories, judged: Mapping[str, Tensor], wrong: float) -> float:
    """The lowest P(freeze) at which freezing goes wrong in at most a share `wrong` of layers.

    A layer freezes at the first moment at which its probability reaches the threshold, and that
    is wrong if it is labelled as not converged then. Both held-out splits count alike.
    """
    for step in range(50, 100):
        froze = bad = 0
        for p in judged.values():
            over = (p >= step / 100) & histories.known
            first = over & (over.cumsum(1) == 1)
            froze += int(first.sum())
            bad += int((first & ~histories.label).sum())
        if bad <= wrong * froze:
            return step / 100
    return 0.99


def table(scores: Mapping[str, Score]) -> str:
    """All judges' scores as text."""
    lines = [
        f"{'':22}{'mean fold':>10}{'worst fold':>11}{'AUROC per run':>17}"
        f"{'average precision':>20}{'difference':>17}"
    ]
    first = next(iter(scores.values()))
    for name, score in scores.items():
        per_run, precise = (interval(list(v.values())) for v in (score.auroc, score.precision))
        gap = "" if score is first else "{:+.3f} ± {:.3f}".format(*difference(first, score))
        lines.append(
            f"{name:22}{score.mean_fold:10.3f}{min(score.folds.values()):11.3f}"
            f"{per_run[0]:9.3f} ± {per_run[1]:.3f}{precise[0]:12.3f} ± {precise[1]:.3f}{gap:>17}"
        )
    lines.append("AUROC by fold:")
    for fold in first.folds:
        values = "  ".join(f"{name} {score.folds[fold]:.2f}" for name, score in scores.items())
        lines.append(f"  {fold:34}{values}")
    return "\n".join(lines)


def _auroc(histories: Histories, p: Tensor, moments: Tensor) -> float:
    label = histories.label[moments]
    if label.all() or not label.any():
        return math.nan
    return float(roc_auc_score(label, p[moments]))


def _logistic(fit: Histories, held: Histories, names: Sequence[str]) -> Tensor:
    """P(freeze) by logistic regression on some of the histories' own columns."""
    inputs, asked = (torch.stack([getattr(h, name) for name in names], dim=-1) for h in (fit, held))
    model = LogisticRegression().fit(inputs[fit.known].numpy(), fit.label[fit.known].numpy())
    p = model.predict_proba(asked.reshape(-1, len(names)).numpy())[:, 1]
    return torch.from_numpy(p).reshape(held.label.shape)
