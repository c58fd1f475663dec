"""Which features and which labels make a predictor that holds on what it never saw.

Every feature set is trained on labels of every rule and scored on left-out families and tasks,
beside the baselines on the same labels. A row is kept as soon as it is known.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from bench.results import write_whole
from strategies.smartfrz.corpus import Recording, histories
from strategies.smartfrz.features import FEATURES
from strategies.smartfrz.labels import Rule
from strategies.smartfrz.scores import Score, difference, held_out, interval
from strategies.smartfrz.training import Recipe

RULES: Mapping[str, Rule] = {
    "stable": Rule("stable", k=4, epsilon=0.01),
    "stable, smoothed": Rule("stable", k=4, epsilon=0.01, smooth=3),
    "settled": Rule("settled", epsilon=0.02),
}
BASELINES = ("progress alone", "displacement alone", "both")
COLUMNS = ("labels", "features", "seed", "converged", "mean_fold", "worst_fold", "run", "run_half")


def study(
    recordings: Sequence[Recording],
    recipe: Recipe,
    warmup: float,
    kept: Path,
    features: Sequence[str] = tuple(FEATURES),
    rules: Mapping[str, Rule] = RULES,
    say: Callable[[str], None] = print,
) -> list[dict[str, str]]:
    """Score all feature sets under all rules; rows that stand in the file `kept` are not redone.

    A row: labels, features (or baseline), seed, share converged, mean and worst fold AUROC, AUROC
    per run with its half-width, and the difference to each baseline with its half-width.
    """
    rows = _read(kept)
    seen = {(row["labels"], row["features"]) for row in rows}
    for label, rule in rules.items():
        missing = [name for name in features if (label, name) not in seen]
        if not missing:
            continue
        base: dict[str, Score] = {}
        for name in missing:
            corpus = histories(recordings, name, recipe.window, rule, warmup)
            converged = float(corpus.label[corpus.known].float().mean())
            if not base:
                base = held_out(corpus, recipe, BASELINES)
                if (label, BASELINES[0]) not in seen:
                    rows += [_row(label, b, recipe, converged, base[b], {}) for b in BASELINES]
            score = held_out(corpus, recipe, ["predictor"])["predictor"]
            rows.append(_row(label, name, recipe, converged, score, base))
            _write(kept, rows)
            say(" ".join(f"{key} {value};" for key, value in rows[-1].items() if value))
    return rows


def _row(
    label: str, name: str, recipe: Recipe, converged: float, score: Score, base: Mapping[str, Score]
) -> dict[str, str]:
    mean, half = interval([v for (split, _), v in score.auroc.items()])
    values = (score.mean_fold(), score.worst_fold(), mean, half)
    row = {"labels": label, "features": name, "seed": str(recipe.seed)}
    row["converged"] = f"{converged:.3f}"
    row |= dict(zip(COLUMNS[4:], (f"{v:.4f}" for v in values), strict=True))
    for other in BASELINES:
        gap = difference(score, base[other]) if base else None
        row[f"over {other}"] = f"{gap[0]:+.4f}" if gap else ""
        row[f"over {other}, half"] = f"{gap[1]:.4f}" if gap else ""
    return row


def _read(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with path.open(newline="") as handle:
        return list(csv.DictReader(handle))


def _write(path: Path, rows: Sequence[Mapping[str, str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [",".join(f'"{name}"' for name in rows[0])]
    lines += [",".join(f'"{value}"' for value in row.values()) for row in rows]
    write_whole(path, "\n".join(lines) + "\n")
