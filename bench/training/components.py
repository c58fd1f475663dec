"""Components of a run, built from its spec: model, strategy, artifacts, budget and device."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from bench.data.catalogue import find_data_set, find_fold
from bench.errors import UserError
from bench.layers.discovery import Layer
from bench.models.catalogue import build as build_model
from bench.models.texts.catalogue import find_text_model
from bench.models.texts.lora import LoraModel, add_adapters
from bench.models.weights.loading import load_backbone
from bench.results.run_folder import RunFolder
from bench.seeds import derive_seed
from bench.spec import Spec
from bench.strategy_api.registry import create_strategy

if TYPE_CHECKING:
    from bench.strategy_api.strategy import Strategy


def make_initial_model(
    spec: Spec, classes: int, layers: tuple[Layer, ...], results: Path
) -> nn.Module:
    """Return the model with its initial weights.

    All weights are drawn from the seed. If the spec names weights, these replace all drawn weights
    except those of the head. In a model that predicts the next word, they replace the head too. In
    an `hf:` model, they replace all but the last layer of the head.
    """
    text_model = find_text_model(spec.model)
    adapted = isinstance(text_model, LoraModel)
    # Weights are named as in the model without adapters, so they are loaded first.
    name = text_model.base.name if isinstance(text_model, LoraModel) else spec.model
    model = build_model(name, classes, spec.resolution, spec.seed)
    if spec.weights:
        _load_weights(model, spec, name, layers[-1], results)
    if not adapted:
        return model
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(spec.seed, "adapters"))
        return add_adapters(model)


def _load_weights(model: nn.Module, spec: Spec, name: str, last: Layer, results: Path) -> None:
    """Copy the weights that the spec names into a model; `make_initial_model` lists what is kept.

    name: name of the model without adapters.
    last: the layer of the head.
    """
    if spec.weights.startswith("run:"):
        source: str | Path = _find_kept_model(spec, spec.weights, results)
    elif spec.weights == "pretrained":
        source = "pretrained"
    else:
        source = Path(spec.paths["weights"])
    may_lack = [prefix.strip() for prefix in spec.weights_may_lack.split(",") if prefix.strip()]
    head: tuple[str, ...] = (last.name, *last.others)
    text_model = find_text_model(name)
    if text_model and text_model.causal:
        head = ()  # it predicts words in every task
    if text_model and (fresh := text_model.list_new_parts(model)):
        # Of a head of several layers, only the last depends on the number of classes.
        head, may_lack = head[-1:], [*may_lack, *fresh]
    report = load_backbone(model, source, head=head, name=name, allow_missing=may_lack)
    notes = [report.note] if report.note else []
    if text_model and text_model.list_new_parts(model) and report.missing:
        notes.append(f"{spec.label}: starts with random {', '.join(report.missing)}")
    for note in notes:
        print(note, file=sys.stderr, flush=True)


def build_strategy(spec: Spec) -> Strategy:
    """Return the strategy of a spec with its options set."""
    return create_strategy(spec.strategy, spec.options, spec.paths.get("strategy", ""))


def find_artifacts(spec: Spec, results: Path) -> dict[str, Path]:
    """Return the artifact files of the strategy, by name (such as "reference" or "predictor").

    Raises UserError if a file is missing.
    """
    files = {k: Path(v) for k, v in spec.paths.items() if k in spec.contents}
    found = {k: v for k, v in files.items() if k not in ("data", "weights", "vocab", "strategy")}
    if spec.reference:
        found["reference"] = _find_kept_model(spec, spec.reference, results, same_data=True)
    for what, path in found.items():
        if not path.exists():
            raise UserError(
                f"{spec.label}: the {what} file {path} does not exist; restore the file, or give "
                "another file and run the command again"
            )
    return found


def _find_kept_model(spec: Spec, source: str, results: Path, *, same_data: bool = False) -> Path:
    """Return the weights file of the run that `run:ID` names.

    same_data: require that the run used the data set of `spec`. Raises UserError if it did not, if
    it diverged or kept no weights, or if it trained on samples that a run of `spec` is scored on.
    """
    folder = RunFolder(results, source.removeprefix("run:"))
    if not folder.path.is_dir():
        raise UserError(
            f"{spec.label}: needs the weights of {source}, but {results} has no such run; execute "
            "it with --keep-model, or check the id"
        )
    if folder.diverged:
        raise UserError(
            f"{spec.label}: needs the weights of {source}, but that run diverged; lower the lr of "
            "that run, or name another run"
        )
    if not folder.model.exists():
        raise UserError(
            f"{spec.label}: needs the weights of {source}, which were not saved; repeat that run "
            "with --keep-model"
        )
    _check_samples(spec, source, folder.read_spec(), same_data=same_data)
    return folder.model


def _check_samples(spec: Spec, source: str, theirs: Spec, *, same_data: bool) -> None:
    """Raise UserError if a run trained on the evaluation samples of `spec`.

    theirs: spec of that run.
    same_data: also raise it if the data sets differ. Samples that two different data sets share are
    not found.
    """
    # The path of the same files may be spelled in another way.
    same_files = theirs.contents.get("data") == spec.contents.get("data")
    if theirs.data != spec.data and not (theirs.data_name == spec.data_name and same_files):
        if same_data:
            raise UserError(
                f"{spec.label}: the reference {source} was trained on {theirs.data}; name a run "
                f"on {spec.data}"
            )
        return
    fault = ""
    if find_fold(spec.data, theirs.seed) != find_fold(spec.data, spec.seed):
        fault = f"its seed {theirs.seed} selects another fold of {spec.data}"
        remedy = f"with --seed {spec.seed}"
    elif (
        spec.evaluate_on == "validation"
        and theirs.evaluate_on == "test"
        and find_data_set(spec.data).trains_on_validation
    ):
        fault = "it trained on the validation samples too"
        remedy = "with --evaluate-on validation"
    if fault:
        raise UserError(
            f"{spec.label}: {source} was trained on samples that this run is scored on: {fault}; "
            f"repeat that run {remedy}, and name the new run"
        )


def compute_budget(spec: Spec, results: Path) -> float | None:
    """Return the mean FLOPs (exact, decisions included) of the runs in `spec.match`, or None.

    None stands for a spec without matched runs. FLOPs that a prefix cache saved in these runs are
    added back, because strategies compute their schedules without a cache. If the run of `spec` has
    a cache of its own, it can cost less than the budget. Raises UserError if one of the runs
    diverged or is not finished.
    """
    if not spec.match:
        return None
    costs: list[float] = []
    for run_id in spec.match:
        folder = RunFolder(results, run_id)
        if not folder.done:
            raise UserError(
                f"{spec.label}: is matched to run {run_id}, which is not done; finish it first"
            )
        result = folder.result()
        if result["status"] != "done":
            raise UserError(
                f"{spec.label}: is matched to run {run_id}, which diverged; lower that run's lr"
            )
        flops = result["flops"]
        spared = sum(s["reused"] * s["prefix_exact"] for s in result["freeze_states"])
        costs.append(flops["exact"]["total"] + spared + flops["decide"])
    return sum(costs) / len(costs)


def choose_device(spec: Spec) -> torch.device:
    """Return the device of a run. Raises UserError if the run needs CUDA and there is no GPU."""
    if spec.device == "cuda" and not torch.cuda.is_available():
        raise UserError(f"{spec.label}: device cuda is not available here; use --device cpu")
    return torch.device(spec.device)
