"""Backbones that the package ships: pretrained weights of the laptop profile's models.

`freezebench backbones` trains them with sweeps/backbones.toml and writes the files.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.files import replace_atomically
from bench.options import make_unknown_error

FOLDER = Path(__file__).parent / "backbones"


def find_backbone(name: str) -> Path:
    """Return the path of a shipped backbone. Raise UserError for an unknown name."""
    known = sorted(path.stem for path in FOLDER.glob("*.safetensors"))
    if name not in known:
        raise make_unknown_error("backbone", name, known)
    return FOLDER / f"{name}.safetensors"


def ship_backbone(name: str, weights: Path, provenance: Mapping[str, Any]) -> Path:
    """Write the weights of a finished run as a shipped file, and return its path.

    weights: safetensors file.
    provenance: JSON values that say how it was trained.
    """
    from safetensors.torch import load_file, save  # here, because planning needs no torch

    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / f"{name}.safetensors"
    # A single key, because safetensors writes several in random order and ids hash the file.
    text = json.dumps(dict(provenance), sort_keys=True)
    with replace_atomically(path) as temporary:
        temporary.write_bytes(save(load_file(weights), metadata={"provenance": text}))
    return path


def read_provenance(path: Path) -> dict[str, Any]:
    """Return how a shipped backbone was trained: spec, accuracy and versions."""
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        provenance: dict[str, Any] = json.loads(file.metadata()["provenance"])
    return provenance
