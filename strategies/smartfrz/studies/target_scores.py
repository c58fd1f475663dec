"""Scores of a trained predictor on recorded runs that took no part in its training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from bench.errors import UserError
from bench.planning.sweep import Sweep
from bench.spec import Spec
from strategies.smartfrz.predictor_file import Trained
from strategies.smartfrz.training.calibration import count_freezes
from strategies.smartfrz.training.corpus import Recording, build_histories
from strategies.smartfrz.training.fit import predict_probabilities
from strategies.smartfrz.training.held_out import compute_auroc, compute_interval
from strategies.smartfrz.training.labels import Rule
from strategies.smartfrz.training.recorder import Record
from strategies.smartfrz.training.source_runs import read_option

COLUMNS = (
    "model",
    "task",
    "runs",
    "converged",
    "AUROC of predictor",
    "progress alone",
    "displacement alone",
    "predictor − progress",
    "early freezes",
    "without AUROC",
)


def check_sweep(sweep: Sweep, trained: Trained) -> None:
    """Raise UserError unless a predictor can be scored on the runs of a sweep.

    The strategy of each run must be `record`. A run must record as many snapshots and CKA values
    per epoch as the runs that trained the predictor. It must record enough weights per layer for
    the predictor, and enough CKA values for a label. The predictor must not have been trained on
    the data of a run.
    """
    for spec in {entry.spec.id: entry.spec for entry in sweep.entries}.values():
        if fault := _find_fault(spec, trained.provenance):
            raise UserError(f"sweep {sweep.name}: {spec.label} {fault}")


def _find_fault(spec: Spec, facts: Mapping[str, Any]) -> str:
    """Return why a predictor with some provenance cannot be scored on a run, or ""."""
    if spec.strategy != Record.name:
        return (
            f"uses the strategy {spec.strategy}; the predictor is scored on runs of the strategy "
            f"{Record.name}"
        )
    if spec.data in facts["data"]:
        return (
            f"uses {spec.data}, on which the predictor was trained, so its score there says "
            "nothing; use other data, or `freezebench predictor evaluate`"
        )
    wanted = {
        "snapshots_per_epoch": facts["snapshots_per_epoch"],
        # The label rule counts CKA values, so their distance must be that of the training data.
        # Files of earlier releases do not have it; their runs used the default.
        "probes_per_epoch": facts.get(
            "probes_per_epoch", Record.options["probes_per_epoch"].default
        ),
    }
    for name, value in wanted.items():
        if (own := read_option(spec, name)) != value:
            return f"has {name} = {own}; the predictor was trained with {name} = {value}"
    if (own := read_option(spec, "tailored")) < (n := facts["tailored"]):
        return (
            f"records {own} weights per layer, and the predictor reads {n}; set options = "
            f"{{tailored = {n}}} for the method in the sweep"
        )
    rule = Rule(**facts["rule"])
    values = 1 + wanted["probes_per_epoch"] * spec.epochs
    if rule.kind == "stable" and (used := -(-values // rule.every)) < rule.k:
        return (
            f"has {used} CKA values in {spec.epochs} epochs, and a label needs {rule.k}; give more "
            "epochs (--epochs)"
        )
    return ""


def score_recordings(
    trained: Trained, recordings: Sequence[Recording], models: Sequence[str], seeds: Sequence[int]
) -> list[dict[str, Any]]:
    """Return one row of scores for each recorded run.

    The labels follow the rule that the predictor was trained with. A moment is a time in a run at
    which one layer is classified. If all labels of a run are equal, its AUROC values are NaN.

    models: model role of each recording.
    seeds: seed of each recording.

    A row holds these values:
    run, model, task, seed: the run.
    labels: number of moments with a label.
    converged: fraction of these labels that say "converged".
    predictor: AUROC of P(freeze).
    progress: AUROC of the fraction of training done.
    displacement: AUROC of the negative relative displacement of the layer within the window.
    freezes: number of layers whose P(freeze) reaches the threshold of the predictor at a labelled
        moment.
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
    """Return a text table with one line for each model and task.

    AUROC values are means over the runs, with 95 % t intervals. The share of converged labels and
    the early freezes cover all runs together. A run whose labels are all equal has no AUROC and is
    counted in the last column.
    """
    table = [COLUMNS]
    for model, task in dict.fromkeys((row["model"], row["task"]) for row in rows):
        own = [row for row in rows if (row["model"], row["task"]) == (model, task)]
        scored = [row for row in own if row["predictor"] == row["predictor"]]
        labels, froze, early = (
            sum(row[key] for row in own) for key in ("labels", "freezes", "early")
        )
        converged = sum(row["converged"] * row["labels"] for row in own if row["labels"])
        table.append((
            model,
            task,
            str(len(own)),
            f"{converged / labels:.0%}" if labels else "-",
            *(
                _format_interval([row[key] for row in scored])
                for key in ("predictor", "progress", "displacement")
            ),
            _format_interval([row["predictor"] - row["progress"] for row in scored], "+"),
            f"{early} of {froze}",
            str(len(own) - len(scored)),
        ))  # fmt: skip
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return "\n".join(
        "  ".join(
            text.ljust(width) if number < 2 else text.rjust(width)
            for number, (text, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in table
    )


def _format_interval(values: Sequence[float], sign: str = "") -> str:
    """Return the mean and the half-width of its 95 % interval; one value has no interval."""
    if not values:
        return "-"
    mean, half = compute_interval(values)
    return f"{mean:{sign}.3f}" + (f" ± {half:.3f}" if len(values) > 1 else "")
