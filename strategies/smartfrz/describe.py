"""What a predictor is and costs: the figures of SmartFRZ's appendix C, and its provenance."""

from __future__ import annotations

from pathlib import Path

import torch

from strategies.smartfrz.features import FEATURES
from strategies.smartfrz.predictor import KEY, Predictor, count_judging_flops
from strategies.smartfrz.predictor_file import load_predictor

LAYERS = 53  # ResNet-50's, the head left out


def describe_cost(features: str, window: int, tailored: int) -> str:
    """Appendix C for any features, window and number of tailored weights, as text."""
    width = FEATURES[features].width(tailored)
    with torch.device("meta"):
        parameters = sum(p.numel() for p in Predictor(width).parameters())
    snapshot = 4 * LAYERS * tailored
    history = snapshot * window
    encoded = 4 * LAYERS * window * (width + 2 * KEY)
    fresh, kept = count_judging_flops(width, window, window), count_judging_flops(width, window, 1)
    return "\n".join(
        [
            f"features {features}: tokens of {width}, window {window}, {tailored} weights a layer",
            f"{parameters:,} parameters, {4 * parameters / 1e6:.2f} MB",
            f"for {LAYERS} layers (ResNet-50): a snapshot {snapshot / 1e3:.0f} kB, the history "
            f"{history / 1e6:.1f} MB, its tokens, K and V {encoded / 1e6:.1f} MB",
            f"one judgement of a layer: {fresh / 1e9:.4f} GFLOPs from nothing, {kept / 1e9:.4f} "
            "with all tokens but the newest encoded before",
        ]
    )


def describe_predictor(path: Path) -> str:
    """A predictor file in words and numbers; raises UserError if it cannot be read."""
    trained = load_predictor(path, torch.device("cpu"))
    facts = trained.provenance
    lines = [
        f"predictor {path}",
        f"freezes at P ≥ {facts['threshold']}, {facts['snapshots_per_epoch']} snapshots an epoch",
        describe_cost(facts["features"], facts["window"], facts["tailored"]),
    ]
    for key in ("profile", "data", "pretraining", "seeds", "rule", "recipe", "results_version"):
        lines.append(f"{key}: {facts.get(key)}")
    lines.append(f"runs: {len(facts.get('runs', []))} recorded")
    for name, score in facts.get("scores", {}).items():
        mean, half = score["run_auroc"]
        lines.append(
            f"held out, {name}: AUROC {score['mean_fold_auroc']:.3f} over folds, "
            f"{mean:.3f} ± {half:.3f} per run"
        )
    return "\n".join(lines)
