"""Saving a run at a step border and going on from there with the same bits."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch

from bench.errors import UserError
from bench.results import replacing


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write plain values and tensors; the old checkpoint stays until the new one is whole."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    with replacing(path) as temporary:
        temporary.write_bytes(buffer.getbuffer())


def load_checkpoint(path: Path, run_id: str, device: torch.device) -> dict[str, Any]:
    """Read a checkpoint; raises UserError if it is damaged or another run's."""
    try:
        state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
        owner = state["id"]
    except Exception as error:
        # torch raises many kinds of error for a damaged file; all mean the same to the user.
        raise UserError(
            f"checkpoint {path} cannot be read ({type(error).__name__}); delete it to start "
            "this run anew"
        ) from error
    if owner != run_id:
        raise UserError(f"checkpoint {path} belongs to run {owner}; delete it to start anew")
    return state
