"""Description of a predictor as text: size and cost (SmartFRZ, appendix C) and provenance."""

from __future__ import annotations

from pathlib import Path

import torch

from strategies.smartfrz.features import FEATURES
from strategies.smartfrz.predictor import KEY, Predictor, count_prediction_flops
from strategies.smartfrz.predictor_file import load_predictor

LAYERS = 53  # layers of ResNet-50 without the head


def describe_cost(features: str, window: int, tailored: int) -> str:
    """Return the size, memory and FLOPs of a predictor as text (SmartFRZ, appendix C).

    features: name of a feature set.
    window: snapshots in the history.
    tailored: weights per layer. The paper states 0.12 GFLOPs per inference, which does not follow
    from its layer sizes. These sizes give 0.042 GFLOPs if a query is computed for the newest token
    only.
    """
    width = FEATURES[features].width(tailored)
    with torch.device("meta"):
        parameters = sum(p.numel() for p in Predictor(width).parameters())
    snapshot = 4 * LAYERS * tailored
    history = snapshot * window
    encoded = 4 * LAYERS * window * (width + 2 * KEY)
    fresh, kept = (count_prediction_flops(width, window, new) for new in (window, 1))
    return "\n".join(
        [
            f"features {features}: token width {width}, window {window}, "
            f"{tailored} weights per layer",
            f"{parameters:,} parameters, {4 * parameters / 1e6:.2f} MB",
            f"memory for {LAYERS} layers (ResNet-50): one snapshot {snapshot / 1e3:.0f} kB, "
            f"history {history / 1e6:.1f} MB, tokens with K and V {encoded / 1e6:.1f} MB",
            f"one prediction for one layer: {fresh / 1e9:.4f} GFLOPs if the whole window has to be "
            f"encoded, {kept / 1e9:.4f} GFLOPs if only the newest token has to be",
        ]
    )


def describe_predictor(path: Path) -> str:
    """Return a description of a predictor file. Raise UserError if the file cannot be read."""
    trained = load_predictor(path, torch.device("cpu"))
    facts = trained.provenance
    lines = [
        f"predictor {path}",
        f"freezes a layer at P(freeze) ≥ {facts['threshold']}, "
        f"{facts['snapshots_per_epoch']} snapshots per epoch",
        describe_cost(facts["features"], facts["window"], facts["tailored"]),
    ]
    for key in (
        "profile",
        "data",
        "pretraining",
        "seeds",
        "rule",
        "recipe",
        "decision",
        "results_version",
    ):
        if key in facts:  # files of earlier versions do not name their decision
            lines.append(f"{key}: {facts[key]}")
    lines.append(f"recorded runs: {len(facts.get('runs', []))}")
    for name, score in facts.get("scores", {}).items():
        mean, half = score["run_auroc"]
        lines.append(
            f"held-out AUROC, {name}: {score['mean_fold_auroc']:.3f} mean over groups, "
            f"{mean:.3f} ± {half:.3f} per run"
        )
    return "\n".join(lines)
