"""Predictor files: the weights and the provenance of a predictor in one safetensors file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from bench.errors import UserError
from bench.files import get_utf8_path, make_folder, replace_atomically
from strategies.smartfrz.features import FEATURES
from strategies.smartfrz.predictor import Predictor

DEFAULT_FEATURES = "upstream+progress"
# Feature set of each shipped predictor, by recipe. "published" is trained as in the paper.
SHIPPED_FEATURES = {"default": DEFAULT_FEATURES, "published": "raw"}
FOLDER = Path(__file__).parent / "predictors"
FORMAT = "freezebench-predictor-2"
REQUIRED = (
    "features",
    "window",
    "tailored",
    "snapshots_per_epoch",
    "threshold",
    "data",
    "rule",
    "label_warmup",
)


@dataclass(frozen=True)
class Trained:
    """Trained predictor with its provenance.

    The provenance holds at least the values of REQUIRED. Some of them are:

    threshold: lowest P(freeze) at which a layer freezes.
    data: names of all data sets on which the predictor was trained.
    rule: fields of the label `Rule`.
    label_warmup: fraction of a run, from its start, without labels.
    """

    network: Predictor
    provenance: Mapping[str, Any]


def find_predictor(
    profile: str,
    features: str,
    window: int,
    tailored: int,
    exactly: bool = False,
    recipe: str = "default",
) -> Path:
    """Return the path of a profile's predictor file.

    If the file does not exist, return the path for the profile `laptop` instead. With `exactly`,
    always return the path for `profile`.

    profile: name of the profile.
    features: name of a feature set.
    window: W, in snapshots.
    tailored: weights per layer.
    recipe: a key of SHIPPED_FEATURES.
    """
    variant = "" if recipe == "default" else f"-{recipe}"
    variant += "" if features == SHIPPED_FEATURES[recipe] else f"-{features}"
    suffix = f"{variant}-w{window}-n{tailored}.safetensors"
    own, laptop = (FOLDER / f"{name}{suffix}" for name in (profile, "laptop"))
    return own if exactly or own.exists() else laptop


def prepare_place(path: Path) -> None:
    """Create the folder of a predictor file. Raise UserError if a file cannot be written there."""
    try:
        if path.is_dir():
            raise UserError(f"{path} is a folder; give --out FILE")
        make_folder(path.parent)
        NamedTemporaryFile(dir=path.parent, prefix=path.name).close()
    except OSError as error:
        raise _make_place_error(path, error) from None


def _make_place_error(path: Path, error: OSError) -> UserError:
    return UserError(f"{path} cannot be written: {error.strerror}; give --out FILE elsewhere")


def save_predictor(path: Path, trained: Trained) -> None:
    """Write a predictor file atomically. Create its folder if needed.

    Raises UserError if the file cannot be written.
    """
    prepare_place(path)
    tensors = {k: v.contiguous() for k, v in trained.network.state_dict().items()}
    # A single key, because safetensors writes several in random order and ids hash the file.
    provenance = json.dumps({"format": FORMAT, **trained.provenance}, sort_keys=True)
    try:
        with replace_atomically(path) as temporary:
            # safetensors.save_file would hide the reason of an error
            temporary.write_bytes(save(tensors, metadata={"provenance": provenance}))
    except OSError as error:
        raise _make_place_error(path, error) from None


def load_predictor(path: Path, device: torch.device) -> Trained:
    """Read a predictor file onto a device.

    Raises UserError if the file is missing, damaged or not a predictor file. Also raises it if the
    file's feature set is unknown or does not fit its weights.
    """
    advice = "train one with `freezebench predictor train`"
    try:
        with get_utf8_path(path) as place, safe_open(place, framework="pt") as file:
            metadata = file.metadata() or {}
            names = file.keys()
            state = {name: file.get_tensor(name) for name in names}
    except (OSError, SafetensorError) as error:
        reason = "it does not exist" if not path.exists() else str(error)
        reason = "it is a folder" if path.is_dir() else reason
        raise UserError(f"predictor {path} cannot be read: {reason}; {advice}") from None
    try:
        provenance = json.loads(metadata.get("provenance", "{}"))
    except ValueError:  # text of another program
        provenance = None
    if not isinstance(provenance, dict) or provenance.pop("format", "") != FORMAT:
        raise UserError(f"predictor {path} is not a predictor file; {advice}")
    if missing := [key for key in REQUIRED if key not in provenance]:
        raise UserError(f"predictor {path}: the provenance lacks {', '.join(missing)}; {advice}")
    features, tailored = provenance["features"], provenance["tailored"]
    if features not in FEATURES:
        raise UserError(
            f"predictor {path}: feature set {features!r} is unknown; this version has "
            f"{', '.join(FEATURES)}; {advice}"
        )
    with torch.device("meta"):  # skips random weights, which take longer to draw than to load
        network = Predictor(FEATURES[features].width(tailored))
    try:
        network.load_state_dict(state, assign=True)
    except RuntimeError:
        raise UserError(
            f"predictor {path}: its weights do not fit the feature set {features!r} with "
            f"{tailored} weights per layer; {advice}"
        ) from None
    return Trained(network.requires_grad_(False).eval().to(device), provenance)
