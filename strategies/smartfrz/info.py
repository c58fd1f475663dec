"""What a predictor is and costs: the figures of SmartFRZ's appendix C, and its provenance."""

from __future__ import annotations

from pathlib import Path

import torch

from strategies.smartfrz.predictor import KEY, flops
from strategies.smartfrz.shipped import load

LAYERS = 53  # ResNet-50's, the head left out


def describe(path: Path) -> str:
    """A predictor file in words and numbers; raises UserError if it cannot be read."""
    trained = load(path, torch.device("cpu"))
    facts, network = trained.provenance, trained.network
    window, n, width = facts["window"], facts["tailored"], network.inputs
    parameters = sum(p.numel() for p in network.parameters())
    fresh = flops(width, window, window)
    kept = flops(width, window, 1)
    lines = [
        f"predictor {path}",
        f"features {facts['features']}: tokens of {width}, window {window}, {n} weights a layer, "
        f"{facts['snapshots_per_epoch']} snapshots an epoch; freezes at P ≥ {facts['threshold']}",
        f"{parameters:,} parameters, {4 * parameters / 1e6:.2f} MB",
        f"for {LAYERS} layers (ResNet-50): a snapshot {4 * LAYERS * n / 1e3:.0f} kB, the history "
        f"{4 * LAYERS * window * (n + width + 2 * KEY) / 1e6:.1f} MB with its tokens, K and V",
        f"one judgement of a layer: {fresh / 1e9:.4f} GFLOPs from nothing, {kept / 1e9:.4f} with "
        "all tokens but the newest encoded before",
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
