"""Saving a run at a step border and going on from there with the same bits."""

from __future__ import annotations

import io
from collections import Counter, OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from bench.errors import UserError
from bench.files import replace_atomically

if TYPE_CHECKING:
    from bench.training.run_state import RunState

PLAIN = (int, float, bool, str, bytes, type(None))


def capture_state(run: RunState) -> dict[str, Any]:
    """All that a run's next step depends on, and all that it has recorded so far."""
    return {
        "id": run.spec.id,
        "step": run.view.step,
        "model": run.model.state_dict(),
        "optimizer": run.optimizer.state_dict(),
        "strategy": run.strategy.state_dict(),
        "frozen": sorted(run.freezer.frozen),
        "frozen_at": run.frozen_at,
        "epochs": run.epochs,
        "decisions": run.decisions,
        "accounting": run.accounting.state_dict(),
        "clocks": run.clocks.read(),
        "loss_sum": run.loss_sum,
        "prefix_since": run.shortcut.since if run.shortcut else 0,
    }


def restore(run: RunState, state: dict[str, Any]) -> None:
    """Bring a run that has just been made to where `capture_state` was asked.

    Raises UserError if the state lacks something, since other code wrote it.
    """
    try:
        _restore(run, state)
    except KeyError as error:
        raise UserError(
            f"run {run.spec.id}, {run.spec.label}: its checkpoint has no {error}, so it was "
            "written by another version of the program or of the strategy; delete checkpoint.pt in "
            "the run's folder to start it anew"
        ) from error


def _restore(run: RunState, state: dict[str, Any]) -> None:
    run.model.load_state_dict(state["model"])
    run.optimizer.load_state_dict(state["optimizer"])
    run.freezer.freeze(state["frozen"])
    run.strategy.load_state_dict(state["strategy"])
    run.view.step, run.view.frozen = state["step"], run.freezer.frozen
    run.frozen_at, run.epochs = state["frozen_at"], state["epochs"]
    run.decisions = state["decisions"]
    run.accounting.load_state_dict(state["accounting"])
    run.clocks.restore(state["clocks"])
    run.loss_sum = state["loss_sum"]
    if run.shortcut:
        run.shortcut.resume(state["prefix_since"], run.view.step)
    run.group.regroup()
    run.resumed = True


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write plain values and tensors; the old checkpoint stays until the new one is whole.

    Raises UserError if a strategy's state holds something else, which could not be read again.
    """
    check_plain(state["strategy"], "the strategy's state_dict()")
    buffer = io.BytesIO()
    torch.save(state, buffer)
    with replace_atomically(path) as temporary:
        temporary.write_bytes(buffer.getbuffer())


def check_plain(value: Any, where: str) -> None:
    """Raise UserError if a strategy's state holds what could not be read again."""
    if type(value) in (dict, OrderedDict, Counter):  # other mappings could not be read again
        for key, inner in value.items():
            check_plain(key, f"a key of {where}")
            check_plain(inner, f"{where}[{key!r}]")
    elif isinstance(value, list | tuple | set):
        for inner in value:
            check_plain(inner, f"an element of {where}")
    elif type(value) not in PLAIN and not isinstance(value, torch.Tensor):
        kind = f"{type(value).__module__}.{type(value).__qualname__}"
        raise UserError(
            f"{where} is {kind}, which cannot be kept; let it hold tensors, numbers of Python's, "
            "strings, lists and dicts"
        )


def load_checkpoint(path: Path, run_id: str, device: torch.device) -> dict[str, Any]:
    """Read a checkpoint; raises UserError if it is damaged or another run's."""
    try:
        state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
        owner = state["id"]
    except (OSError, torch.OutOfMemoryError) as error:
        raise UserError(
            f"checkpoint {path} cannot be read now ({error}); give the command again to go on from "
            "it, or delete it to start this run anew"
        ) from error
    except Exception as error:
        # torch raises many kinds of error for a damaged file; all mean the same to the user.
        raise UserError(
            f"checkpoint {path} cannot be read ({type(error).__name__}); delete it to start "
            "this run anew"
        ) from error
    if owner != run_id:
        raise UserError(f"checkpoint {path} belongs to run {owner}; delete it to start anew")
    return state
