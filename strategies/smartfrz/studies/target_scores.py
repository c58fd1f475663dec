"""Scores of a trained predictor on recorded runs that took no part in its training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from bench.errors import UserError
from bench.planning.sweep import Sweep
from strategies.smartfrz.predictor_file import Trained
from strategies.smartfrz.training.calibration import count_freezes
from strategies.smartfrz.training.corpus import Recording, build_histories
from strategies.smartfrz.training.fit import predict_probabilities
from strategies.smartfrz.training.held_out import compute_auroc, compute_interval
from strategies.smartfrz.training.labels import Rule
from strategies.smartfrz.training.recorder import Record


def check_sweep(sweep: Sweep, trained: Trained) -> None:
    """Raise UserError unless a predictor can be scored on the runs of a sweep.

    The strategy of each run must be `record`, with as many snapshots per epoch as the predictor
    expects. The predictor must not have been trained on the data of a run.
    """
    seen = trained.provenance["data"]
    expected = trained.provenance["snapshots_per_epoch"]
    for entry in sweep.entries:
        spec = entry.spec
        if spec.strategy != Record.name:
            raise UserError(
                f"sweep {sweep.name}: {spec.label} uses the strategy {spec.strategy}; the "
                f"predictor is scored on runs of the strategy {Record.name}"
            )
        if spec.data in seen:
            raise UserError(
                f"sweep {sweep.name}: the predictor was trained on {spec.data}, so its score there "
                "says nothing; use other data, or `freezebench predictor evaluate`"
            )
        option = "snapshots_per_epoch"
        recorded = spec.options.get(option, Record.options[option].default)
        if recorded != expected:
            raise UserError(
                f"sweep {sweep.name}: {spec.label} has {option} = {recorded}; the predictor was "
                f"trained for {option} = {expected}"
            )


def score_recordings(
    trained: Trained, recordings: Sequence[Recording], models: Sequence[str], seeds: Sequence[int]
) -> list[dict[str, Any]]:
    """Return one row of scores for each recorded run.

    The labels follow the rule that the predictor was trained with. models, seeds: model role and
    seed of each recording.

    run, model, task, seed: the run. labels: number of moments with a label, where a moment is a
    time at which one layer is classified. converged: fraction of these labels. predictor, progress,
    displacement: AUROC of P(freeze), of the fraction of training done, and of minus the relative
    displacement of the layer within the window; NaN if all labels of the run are equal. freezes:
    number of layers whose P(freeze) reaches the threshold of the predictor at a labelled moment.
    early: number of them that had not converged at the first such moment.
    """
    facts = trained.provenance
    histories = build_histories(
        recordings, facts["features"], facts["window"], Rule(**facts["rule"]), facts["label_warmup"]
    )
    p = predict_probabilities(trained.network, histories, facts["window"]).double()
    rows = []
    for index, (origin, model, seed) in enumerate(
        zip(histories.origins, models, seeds, strict=True)
    ):
        here = (histories.run == index)[:, None]
        moments = histories.known & here
        label = histories.label[moments]
        froze, early = count_freezes(histories, p.where(here, torch.nan), facts["threshold"])
        rows.append({
            "run": origin.run,
            "model": model,
            "task": origin.task,
            "seed": seed,
            "labels": len(label),
            "converged": float(label.double().mean()),
            "predictor": compute_auroc(histories, p, moments),
            "progress": compute_auroc(histories, histories.progress, moments),
            "displacement": compute_auroc(histories, -histories.moved, moments),
            "freezes": froze,
            "early": early,
        })  # fmt: skip
    return rows


def format_target_scores(rows: Sequence[dict[str, Any]]) -> str:
    """Return a text table with one line for each model and task: means over the runs.

    Intervals are 95 % t intervals over the runs. A run whose labels are all equal has no AUROC and
    is counted in the last column.
    """
    title = (
        f"{'model':16}{'task':12}{'runs':>5}{'converged':>11}{'AUROC of predictor':>20}"
        f"{'progress alone':>17}{'displacement alone':>20}{'predictor − progress':>22}"
        f"{'early freezes':>15}{'without AUROC':>15}"
    )
    lines = [title]
    for model, task in dict.fromkeys((row["model"], row["task"]) for row in rows):
        own = [row for row in rows if (row["model"], row["task"]) == (model, task)]
        scored = [row for row in own if row["predictor"] == row["predictor"]]
        shown = {
            key: _format_interval([row[key] for row in scored])
            for key in ("predictor", "progress", "displacement")
        }
        gap = _format_interval([row["predictor"] - row["progress"] for row in scored], "+")
        froze, early = (sum(row[key] for row in own) for key in ("freezes", "early"))
        converged = sum(row["converged"] for row in own) / len(own)
        lines.append(
            f"{model:16}{task:12}{len(own):5}{converged:11.0%}{shown['predictor']:>20}"
            f"{shown['progress']:>17}{shown['displacement']:>20}{gap:>22}"
            f"{f'{early} of {froze}':>15}{len(own) - len(scored):>15}"
        )
    return "\n".join(lines)


def _format_interval(values: Sequence[float], sign: str = "") -> str:
    """Return the mean and the half-width of its 95 % interval; one value has no interval."""
    if not values:
        return "-"
    mean, half = compute_interval(values)
    return f"{mean:{sign}.3f}" + (f" ± {half:.3f}" if len(values) > 1 else "")
