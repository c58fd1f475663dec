"""Checkpoints of a run, written between two steps.

A resumed run ends with the same bits as an uninterrupted run. On CUDA, this holds as far as the
kernels are deterministic.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from bench.errors import UserError
from bench.files import replace_atomically
from bench.results.decisions import FILE, read_decisions
from bench.results.run_folder import RunFolder
from bench.strategy_api.output_checks import check_plain

if TYPE_CHECKING:
    from bench.training.run_state import RunState


def capture_state(run: RunState) -> dict[str, Any]:
    """Return all state that the next steps depend on, and all records so far except the decisions.

    The decisions are in decisions.jsonl. The checkpoint holds only the number of its lines, and
    therefore does not grow with the decisions.
    """
    return {
        "id": run.spec.id,
        "step": run.view.step,
        "model": run.model.state_dict(),
        "optimizer": run.optimizer.state_dict(),
        "strategy": run.strategy.state_dict(),
        "frozen": sorted(run.freezer.frozen),
        "frozen_at": run.frozen_at,
        "epochs": run.epochs,
        "decision_lines": len(run.decisions),
        "accounting": run.accounting.state_dict(),
        "clocks": run.clocks.read(),
        "energy": run.energy.read(),
        "loss_sum": run.loss_sum,
        "loss": run.view.loss,
        "prefix_since": run.prefix_forward.since if run.prefix_forward else 0,
        "prefix_bytes": run.prefix_forward.count_kept_bytes() if run.prefix_forward else {},
    }


def restore(run: RunState, state: dict[str, Any], folder: RunFolder) -> None:
    """Restore a newly constructed run to the state that `capture_state` returned.

    folder: folder of the run, with its decisions.jsonl.
    Raises UserError if decisions are missing. Raises UserError if a key is missing, which shows
    that another version of the code wrote the state.
    """
    try:
        run.decisions = _read_decisions(folder, state["decision_lines"])
        _restore(run, state)
    except KeyError as error:
        raise UserError(
            f"run {run.spec.id}, {run.spec.label}: its checkpoint has no {error}, so another "
            "version of the program or of the strategy wrote it; delete checkpoint.pt in the run's "
            "folder to restart the run"
        ) from error


def _read_decisions(folder: RunFolder, count: int) -> list[dict[str, Any]]:
    """Return the lines that decisions.jsonl had when the checkpoint was written.

    The file may hold more lines, because it is written before the checkpoint and at the end of each
    epoch.
    """
    lines = read_decisions(folder.path) if count else []
    if len(lines) < count:
        raise UserError(
            f"{folder.path / FILE} lacks lines that the checkpoint counts ({len(lines)} of {count} "
            "are there); delete checkpoint.pt in this folder to restart the run"
        )
    return lines[:count]


def _restore(run: RunState, state: dict[str, Any]) -> None:
    run.model.load_state_dict(state["model"])
    run.optimizer.load_state_dict(state["optimizer"])
    _check_optimizer(run)
    run.freezer.freeze(state["frozen"])
    run.strategy.load_state_dict(state["strategy"])
    run.view.step, run.view.frozen = state["step"], run.freezer.frozen
    run.frozen_at, run.epochs = state["frozen_at"], state["epochs"]
    run.accounting.load_state_dict(state["accounting"], run.view.frozen)
    run.clocks.restore(state["clocks"])
    run.energy.restore(state.get("energy"))  # missing in checkpoints of earlier releases
    run.loss_sum, run.view.loss = state["loss_sum"], state["loss"]
    if run.prefix_forward:
        run.prefix_forward.resume(state["prefix_since"], run.view.step)
        run.prefix_forward.most_bytes = state.get("prefix_bytes", {})
    run.group.regroup()
    run.resumed = True


def _check_optimizer(run: RunState) -> None:
    """Raise UserError if the optimizer state of a parameter has another shape than the parameter.

    This shows that another version of the code, which lists the parameters in another order, wrote
    the checkpoint.
    """
    for parameter, state in run.optimizer.state.items():
        tensors = [v for v in state.values() if isinstance(v, torch.Tensor) and v.ndim]
        if any(tensor.shape != parameter.shape for tensor in tensors):
            raise UserError(
                f"run {run.spec.id}, {run.spec.label}: its checkpoint lists the parameters in "
                "another order, so another version of the program wrote it; delete checkpoint.pt "
                "in the run's folder to restart the run"
            )


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint atomically, so that the old one survives a crash.

    Raises UserError if the strategy's state contains anything but plain values and tensors,
    because `load_checkpoint` could not read it.
    """
    check_plain(state["strategy"], "the strategy's state_dict()")
    buffer = io.BytesIO()
    torch.save(state, buffer)
    with replace_atomically(path) as temporary:
        temporary.write_bytes(buffer.getbuffer())


def load_checkpoint(path: Path, run_id: str, device: torch.device) -> dict[str, Any]:
    """Read a checkpoint. Raises UserError if it is damaged or belongs to another run."""
    try:
        state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
        owner = state["id"]
    except (OSError, torch.OutOfMemoryError) as error:
        raise UserError(
            f"checkpoint {path} cannot be read now ({error}); run the command again to resume "
            "from it, or delete it to restart this run"
        ) from error
    except Exception as error:
        # torch.load raises many types of exceptions for a damaged file.
        raise UserError(
            f"checkpoint {path} cannot be read ({type(error).__name__}); delete it to "
            "restart this run"
        ) from error
    if owner != run_id:
        raise UserError(f"checkpoint {path} belongs to run {owner}; delete it to restart this run")
    return state
