"""Held-out scores of a predictor for every split of the runs, as rows for tables and figures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bench.errors import UserError
from strategies.smartfrz.training.calibration import compute_calibration_error, compute_reliability
from strategies.smartfrz.training.corpus import Histories
from strategies.smartfrz.training.fit import PredictorTraining
from strategies.smartfrz.training.held_out import (
    Score,
    compare_scores,
    compute_interval,
    find_groups,
    score_held_out,
)
from strategies.smartfrz.training.held_out_groups import SPLITS


@dataclass(frozen=True)
class Evaluation:
    """Held-out scores of the predictor and of the baselines, as rows of plain values.

    A classifier is the predictor or a baseline. The column "judge" of the rows holds its name.

    scores: scores by classifier.
    splits: one row per split and classifier.
    runs: one row per split, classifier and held-out run, for runs with both labels.
    bins: one row per split, classifier and interval of P(freeze) of width 0.1.
    left_out: one line per group that was left out.
    """

    scores: dict[str, Score]
    splits: list[dict[str, Any]]
    runs: list[dict[str, Any]]
    bins: list[dict[str, Any]]
    left_out: list[str]


def evaluate_splits(corpus: Histories, training: PredictorTraining) -> Evaluation:
    """Score the predictor and the baselines on all groups of all splits.

    Groups that `find_groups` leaves out have no score. Raises UserError if no group is left, or if
    no held-out run has both labels.
    """
    scores = score_held_out(corpus, training, splits=tuple(SPLITS))
    if not scores["predictor"].auroc:
        raise UserError(
            "no held-out run has both labels (converged and not converged), so none has a score; "
            "change --k or --epsilon"
        )
    origins = {origin.run: origin for origin in corpus.origins}
    made = Evaluation(scores, [], [], [], find_groups(corpus, tuple(SPLITS))[1])
    for split in scores["predictor"].predicted:
        for name, score in scores.items():
            made.splits.append(_make_split_row(corpus, split, name, score, scores["predictor"]))
            for (s, run), auroc in score.auroc.items():
                if s == split:
                    origin = origins[run]
                    where = {"family": origin.family, "task": origin.task}
                    values = {"auroc": auroc, "precision": score.precision[s, run]}
                    row = {"split": split, "judge": name, "run": run, **where, **values}
                    made.runs.append(row)
            for p, share, n in compute_reliability(corpus, score.predicted[split]):
                made.bins.append({"split": split, "judge": name, "p": p, "share": share, "n": n})
    return made


def _make_split_row(
    corpus: Histories, split: str, name: str, score: Score, predictor: Score
) -> dict[str, Any]:
    auroc, precision = (
        compute_interval(score.average_by_run(of, [split])) for of in (score.auroc, score.precision)
    )
    gap = compare_scores(predictor, score, [split])
    return {
        "split": split,
        "judge": name,
        "folds": sum(s == split for s, _ in score.groups),
        "mean_fold": score.average_groups([split]),
        "worst_fold": score.find_worst_group([split]),
        "auroc": auroc[0],
        "auroc_half": auroc[1],
        "precision": precision[0],
        "precision_half": precision[1],
        "calibration_error": compute_calibration_error(
            compute_reliability(corpus, score.predicted[split])
        ),
        "predictor_over_it": gap[0],
        "predictor_over_it_half": gap[1],
    }


def format_evaluation(evaluation: Evaluation) -> str:
    """Return one text table per split, with a title that describes the split.

    The first lines name the groups that were left out.
    """
    lines = list(evaluation.left_out)
    for split in dict.fromkeys(row["split"] for row in evaluation.splits):
        rows = [row for row in evaluation.splits if row["split"] == split]
        lines.append(f"{SPLITS[split]} ({rows[0]['folds']} groups)")
        lines.append(
            f"  {'':20}{'mean group':>12}{'worst':>7}{'AUROC per run':>17}"
            f"{'average precision':>20}{'calibration error':>19}{'predictor − this':>20}"
        )
        for row in rows:
            gap = f"{row['predictor_over_it']:+.3f} ± {row['predictor_over_it_half']:.3f}"
            lines.append(
                f"  {row['judge']:20}{row['mean_fold']:12.3f}{row['worst_fold']:7.3f}"
                f"{row['auroc']:9.3f} ± {row['auroc_half']:.3f}{row['precision']:12.3f} ± "
                f"{row['precision_half']:.3f}{row['calibration_error']:19.3f}"
                f"{gap if row['judge'] != 'predictor' else '':>20}"
            )
    return "\n".join(lines)
