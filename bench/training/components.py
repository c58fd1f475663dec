"""From a spec to what a run is made of: data, model, layers, FLOPs, strategy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from bench.errors import UserError
from bench.layers.discovery import Layer
from bench.models.catalogue import build as build_model
from bench.models.weights import load_backbone
from bench.results.run_folder import RunFolder
from bench.spec import Spec
from bench.strategy_api.registry import load_strategy_class

if TYPE_CHECKING:
    from bench.strategy_api.strategy import Strategy


def make_initial_model(
    spec: Spec, classes: int, layers: tuple[Layer, ...], results: Path
) -> nn.Module:
    """The model with its starting weights: random by the seed, the backbone loaded over them."""
    model = build_model(spec.model, classes, spec.resolution, spec.seed)
    if not spec.weights:
        return model
    if spec.weights.startswith("run:"):
        source: str | Path = _find_kept_model(spec, spec.weights, results)
    elif spec.weights == "pretrained":
        source = "pretrained"
    else:
        source = Path(spec.paths["weights"])
    may_lack = [prefix.strip() for prefix in spec.weights_may_lack.split(",") if prefix.strip()]
    load_backbone(model, source, head=layers[-1].name, name=spec.model, allow_missing=may_lack)
    return model


def build_strategy(spec: Spec) -> Strategy:
    """The spec's strategy with its options."""
    return load_strategy_class(spec.strategy, spec.paths.get("strategy", ""))(**spec.options)


def find_artifacts(spec: Spec, results: Path) -> dict[str, Path]:
    """Local files that the strategy needs, by what they are."""
    files = {k: Path(v) for k, v in spec.paths.items() if k in spec.contents}
    found = {k: v for k, v in files.items() if k not in ("data", "weights", "vocab", "strategy")}
    if spec.reference:
        found["reference"] = _find_kept_model(spec, spec.reference, results)
    for what, path in found.items():
        if not path.exists():
            raise UserError(f"{spec.label}: its {what} {path} does not exist; make it first")
    return found


def _find_kept_model(spec: Spec, source: str, results: Path) -> Path:
    """The trained weights of a run:ID; raises UserError if it diverged or did not keep them."""
    folder = RunFolder(results, source.removeprefix("run:"))
    if folder.diverged:
        raise UserError(f"{spec.label}: {source}, which it starts from, diverged")
    if not folder.model.exists():
        raise UserError(f"{spec.label}: {source} kept no weights; make it with --keep-model")
    return folder.model


def compute_budget(spec: Spec, results: Path) -> float | None:
    """The mean cost in FLOPs (exact, deciding included) of the runs a spec is matched to.

    Without what a cache of their prefix spared them: schedules are solved for the cost of freezing
    alone, and the cache of the matched run then spares it as much again.
    """
    if not spec.match:
        return None
    costs: list[float] = []
    for run_id in spec.match:
        folder = RunFolder(results, run_id)
        if not folder.done:
            raise UserError(f"{spec.label}: waits for run {run_id}, which is not done")
        result = folder.result()
        if result["status"] != "done":
            raise UserError(f"{spec.label}: run {run_id}, to whose cost it is matched, diverged")
        flops = result["flops"]
        spared = sum(s["reused"] * s["prefix_exact"] for s in result["freeze_states"])
        costs.append(flops["exact"]["total"] + spared + flops["decide"])
    return sum(costs) / len(costs)


def choose_device(spec: Spec) -> torch.device:
    """The device of a run; raises UserError where this machine has none of its class."""
    if spec.device == "cuda" and not torch.cuda.is_available():
        raise UserError(f"{spec.label}: device cuda is not available here; use --device cpu")
    return torch.device(spec.device)
