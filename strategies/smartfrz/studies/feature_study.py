"""Feature study: held-out scores of every feature set under every label rule.

For each feature set and label rule, a predictor is trained and scored on held-out families and
tasks. Baselines are scored on the same labels. Each row is written to disk as soon as its score is
known. A row holds these values:

corpus: a hash of the runs and the settings.
labels: name of the label rule.
features: a feature set or a baseline.
seed: seed of the training.
converged: fraction of the labels.
mean_fold, worst_fold: mean and lowest AUROC over the held-out groups.
run, run_half: mean AUROC per run, and the half-width of its 95 % interval.
over BASELINE: mean difference in AUROC from a baseline, and its half-width.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.errors import UserError
from bench.files import write_atomically
from strategies.smartfrz.features import FEATURES
from strategies.smartfrz.training.corpus import Recording, build_histories
from strategies.smartfrz.training.fit import PredictorTraining
from strategies.smartfrz.training.held_out import (
    Score,
    compare_scores,
    compute_interval,
    find_groups,
    score_held_out,
)
from strategies.smartfrz.training.held_out_groups import CHOOSING
from strategies.smartfrz.training.labels import Rule

RULES: Mapping[str, Rule] = {
    "stable": Rule("stable", k=4, epsilon=0.01),
    "stable, smoothed": Rule("stable", k=4, epsilon=0.01, smooth=3),
    "settled": Rule("settled", epsilon=0.02),
}
BASELINES = ("progress alone", "displacement alone", "both")


def run_study(
    recordings: Sequence[Recording],
    training: PredictorTraining,
    unlabelled_share: float,
    kept: Path,
    features: Sequence[str] = tuple(FEATURES),
    rules: Mapping[str, Rule] = RULES,
) -> list[dict[str, str]]:
    """Score all feature sets under all label rules, print each new row and return the rows.

    Rules and groups that are left out because of their labels are printed too. Rows that are
    already in the CSV file `kept` are not recomputed. Rows of another corpus or of other settings
    stay in the file but are not returned. Raises UserError if no row is left.

    recordings: recorded runs.
    training: training of the predictor.
    unlabelled_share: fraction of a run, from its start, in which no moment is labelled.
    kept: CSV file of the rows.
    features: names of feature sets.
    rules: label rules by name.
    """
    corpus_id = _hash_corpus(recordings, training, unlabelled_share)
    every = _read_rows(kept)
    rows = [row for row in every if row["corpus"] == corpus_id]
    others = [row for row in every if row["corpus"] != corpus_id]
    seen = {(row["labels"], row["features"]) for row in rows}
    for label, rule in rules.items():
        missing = [name for name in features if (label, name) not in seen]
        if not missing:
            continue
        base: dict[str, Score] = {}
        for name in missing:
            corpus = build_histories(recordings, name, training.window, rule, unlabelled_share)
            if found := corpus.describe_one_label():
                print(f"left out the labels {label!r}: {found} ({rule})")
                break
            converged = float(corpus.label[corpus.known].float().mean())
            if not base:
                for line in find_groups(corpus, CHOOSING)[1]:
                    print(line)
                base = score_held_out(corpus, training, BASELINES)
                if (label, BASELINES[0]) not in seen:
                    first = {"corpus": corpus_id, "labels": label}
                    rows += [
                        {**first, **_format_row(b, training.seed, converged, base[b], {})}
                        for b in BASELINES
                    ]
            score = score_held_out(corpus, training, ["predictor"])["predictor"]
            row = _format_row(name, training.seed, converged, score, base)
            rows.append({"corpus": corpus_id, "labels": label, **row})
            _write_rows(kept, [*others, *rows])
            print(" ".join(f"{key} {value};" for key, value in rows[-1].items() if value))
    if not rows:
        raise UserError(
            "no rule gives labels of both kinds on these recorded runs, so there is nothing to "
            "compare; record runs of more epochs"
        )
    return rows


def _hash_corpus(
    recordings: Sequence[Recording], training: PredictorTraining, unlabelled_share: float
) -> str:
    """Return a hash of the runs, the number of tailored weights and the two settings."""
    runs = sorted(r.origin.run for r in recordings)
    tailored = {r.trace["snapshots"].shape[2] for r in recordings}
    text = f"{runs} {tailored} {training.identity()} {unlabelled_share}"
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _format_row(
    name: str, seed: int, converged: float, score: Score, base: Mapping[str, Score]
) -> dict[str, str]:
    mean, half = compute_interval(score.average_by_run(score.auroc))
    row = {
        "features": name,
        "seed": str(seed),
        "converged": f"{converged:.3f}",
        "mean_fold": f"{score.average_groups():.4f}",
        "worst_fold": f"{score.find_worst_group():.4f}",
        "run": f"{mean:.4f}",
        "run_half": f"{half:.4f}",
    }
    for other in BASELINES:
        gap = compare_scores(score, base[other]) if base else None
        row[f"over {other}"] = f"{gap[0]:+.4f}" if gap else ""
        row[f"over {other}, half"] = f"{gap[1]:.4f}" if gap else ""
    return row


def _read_rows(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with path.open(newline="") as handle:
        return list(csv.DictReader(handle))


def _write_rows(path: Path, rows: Sequence[Mapping[str, str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(path, text.getvalue())
