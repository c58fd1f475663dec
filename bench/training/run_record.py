"""Record of a run: environment, decisions, epochs, result and weights."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save
from torch import Tensor

from bench.costs.accounting import CONVENTIONS
from bench.files import read_json, replace_atomically
from bench.machine.environment import describe_environment
from bench.results.evaluation_file import write_evaluation
from bench.results.run_folder import RunFolder
from bench.strategy_api.output_checks import read_cost, read_trace

if TYPE_CHECKING:
    from bench.training.run_state import RunState


def record_environment(run: RunState, folder: RunFolder) -> None:
    """Write environment.json.

    A resumed run lists every device that it used, once and in order of use.
    """
    here = describe_environment(run.spec, run.device)
    here["devices"] = [here["device"]]
    if folder.checkpoint.exists() and (folder.path / "environment.json").exists():
        before = read_json(folder.path / "environment.json")
        here["devices"] = list(dict.fromkeys([*before["devices"], *here["devices"]]))
        here["device"] = ", then ".join(here["devices"])
        here["before"] = before
    folder.write("environment.json", here)


def make_epoch_line(run: RunState, loss: float) -> dict[str, Any]:
    """Return the line of epochs.jsonl for an epoch that has just ended.

    loss: mean training loss over its steps.
    """
    state = run.accounting.now
    return {
        "epoch": len(run.epochs) + 1,
        "step": run.view.step,
        "train_loss": loss if math.isfinite(loss) else None,
        "frozen": len(run.view.frozen),
        "saved_bytes": state.saved_bytes,
        "state_bytes": state.state_bytes,
        "cuda_allocated": state.cuda_allocated,
        "flops_exact": run.accounting.sum_flops("exact").total,
        "flops_paper": run.accounting.sum_flops("paper").total,
        "train_s": run.clocks.read()["wall"]["train"],
    }


def make_result(run: RunState, status: str, reason: str) -> dict[str, Any]:
    """Return the contents of result.json.

    With replicas, FLOPs are totals over all processes, and memory is the maximum over them. The
    recorded clocks are those of the first process, including the time in which it waits for other
    processes. With replicas, the energy is unknown.
    """
    clocks = run.clocks.read()
    full = run.batches.samples * run.spec.epochs
    cached = {"prefix_cache": run.prefix_forward.count_kept_bytes()} if run.prefix_forward else {}
    return {
        "id": run.spec.id,
        "cell": run.spec.cell,
        "status": status,
        "reason": reason,
        "metric": run.batches.metric,
        "accuracy": run.score,
        "eval_count": run.scored,
        "steps": run.view.step,
        "steps_per_epoch": run.view.steps_per_epoch,
        "budget": run.view.budget,
        "flops": {
            **{
                name: {"forward": f.forward, "backward": f.backward, "total": f.total}
                for name in CONVENTIONS
                for f in [run.accounting.sum_flops(name)]
            },
            # Every process calls the strategy.
            "decide": read_cost(run.strategy_name, run.strategy.cost()) * run.group.size,
            "full_paper": run.flops.paper().total * full,
            "full_exact": run.flops.exact().total * full,
        },
        "clocks": clocks["wall"],
        "cpu": clocks["cpu"],
        "energy": run.energy.read(),
        "resumed": run.resumed,
        "memory": run.group.reduce_max(run.accounting.collect_memory()) | cached,
        "layers": [
            {
                "index": layer.index,
                "name": layer.name,
                "parameters": layer.size,
                "weights": run.model.get_parameter(layer.parameters[0]).numel(),
                "flops_forward": run.flops.layer_costs[layer.index],
                "frozen_at_step": run.frozen_at.get(layer.index),
            }
            for layer in run.layers
        ],
        "freeze_states": run.accounting.summarise_states(),
    }


def write_run_record(run: RunState, folder: RunFolder, result: dict[str, Any]) -> None:
    """Write the files of a finished run and delete its checkpoint.

    result.json is written last, because a run with that file is done.
    """
    if run.spec.keep_model and result["status"] == "done":
        # Copy, because safetensors rejects tied weights, which are one tensor under two names.
        state = {
            k: v.detach().cpu().clone(memory_format=torch.contiguous_format)
            for k, v in run.model.state_dict().items()
        }
        save_tensors(folder.model, state)
    if run.evaluation:
        write_evaluation(folder.path, run.evaluation)
    if trace := read_trace(run.strategy_name, run.strategy.trace()):
        save_tensors(folder.path / "trace.safetensors", trace)
    folder.write("result.json", result)
    folder.checkpoint.unlink(missing_ok=True)
    if run.prefix_forward:
        run.prefix_forward.close()
    folder.remove("failure.json")


def save_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    """Write a safetensors file atomically."""
    with replace_atomically(path) as temporary:
        # safetensors.save_file creates files that only their owner can read, and hides the reason
        # of a failed write, such as a full disk.
        temporary.write_bytes(save(tensors))
