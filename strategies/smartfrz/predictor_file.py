"""Predictor files: the network's weights and where they come from, in one safetensors file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from bench.errors import UserError
from strategies.smartfrz.features import FEATURES
from strategies.smartfrz.predictor import Predictor

DEFAULT_FEATURES = "upstream+progress"
FOLDER = Path(__file__).parent / "predictors"
FORMAT = "freezebench-predictor-1"


@dataclass(frozen=True)
class Trained:
    """A trained predictor with its provenance.

    provenance holds at least: features, window, tailored, snapshots_per_epoch, threshold (the
    calibrated P(freeze)), data (names of all data sets behind it).
    """

    network: Predictor
    provenance: Mapping[str, Any]


def find_predictor(
    profile: str, features: str, window: int, tailored: int, exactly: bool = False
) -> Path:
    """Where the predictor of a profile lies.

    Unless exactly that is wanted, the one of `laptop` stands in for one that is not yet trained.
    """
    kind = "" if features == DEFAULT_FEATURES else f"-{features}"
    own, laptop = (
        FOLDER / f"{name}{kind}-w{window}-n{tailored}.safetensors" for name in (profile, "laptop")
    )
    return own if exactly or own.exists() else laptop


def save_predictor(path: Path, trained: Trained) -> None:
    """Write a predictor file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {k: v.contiguous() for k, v in trained.network.state_dict().items()}
    provenance = json.dumps(dict(trained.provenance), sort_keys=True)
    save_file(tensors, path, metadata={"format": FORMAT, "provenance": provenance})


def load_predictor(path: Path, device: torch.device) -> Trained:
    """Read a predictor file; raises UserError if it is missing, broken or of another kind."""
    advice = "train one with `make predictor`"
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            names = file.keys()
            state = {name: file.get_tensor(name) for name in names}
    except (OSError, SafetensorError) as error:
        reason = "it does not exist" if not path.exists() else str(error)
        raise UserError(f"predictor {path}: cannot be read: {reason}; {advice}") from None
    if metadata.get("format") != FORMAT:
        raise UserError(f"predictor {path}: not a predictor file; {advice}")
    provenance = json.loads(metadata["provenance"])
    features, tailored = provenance["features"], provenance["tailored"]
    if features not in FEATURES:
        raise UserError(f"predictor {path}: features {features!r} are unknown here; {advice}")
    with torch.device("meta"):  # drawing weights only to replace them takes longer than loading
        network = Predictor(FEATURES[features].width(tailored))
    try:
        network.load_state_dict(state, assign=True)
    except RuntimeError:
        raise UserError(f"predictor {path}: its weights do not fit {features}; {advice}") from None
    return Trained(network.requires_grad_(False).eval().to(device), provenance)
