"""Recorded runs on which a predictor is trained: full training on source tasks."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from bench.errors import UserError
from bench.models.shipped_backbones import read_provenance
from bench.planning.run_inputs import check_files_used
from bench.planning.sweep import Sweep, load_sweep
from bench.planning.sweep_files import load_profile
from bench.results.run_folder import RunFolder
from bench.seeds import make_generator
from bench.spec import Spec
from strategies.smartfrz.training.corpus import Recording, RunOrigin
from strategies.smartfrz.training.labels import Rule
from strategies.smartfrz.training.recorder import Record

Launch = Callable[[Sequence[Spec], Path], Any]


def load_source_sweep(profile: str, files: Mapping[str, str] | None = None) -> Sweep:
    """Return the sweep of a profile's recorded runs.

    files: as for `load_sweep`. Raises UserError if the profile declares no sweep of recorded runs,
    if one of its runs uses data that is not a source task, or if no run reads one of the files.
    """
    declared = load_profile(profile).get("predictor", {})
    if not declared.keys() >= {"sweep", "sources"}:
        raise UserError(
            f"profile {profile}: the section [predictor] must set `sweep` and `sources`; "
            "sweeps/profiles/laptop.toml has an example"
        )
    sweep = load_sweep(declared["sweep"], profile, files=files)
    check_files_used(files or {}, sweep.specs)
    refuse_targets(sweep)
    return sweep


def refuse_targets(sweep: Sweep) -> None:
    """Raise UserError if a run of a sweep uses data that is not a source task.

    The data sets on which its initial weights were trained are checked too.
    """
    sources = sweep.profile["predictor"]["sources"]
    for data in [*(spec.data for spec in sweep.specs), *list_pretraining(sweep)]:
        if data.partition(":")[0] not in sources:
            raise UserError(
                f"sweep {sweep.name}: {data} is not a source task; a predictor trained on it "
                "could not be evaluated on it. Use variants of " + ", ".join(sources)
            )


def list_pretraining(sweep: Sweep) -> list[str]:
    """Return the names of the data sets on which the pretrained weights of a sweep were trained."""
    files = {spec.paths["weights"] for spec in sweep.specs if spec.weights == "file"}
    return sorted({read_provenance(Path(file))["spec"]["data"] for file in files})


def load_recordings(
    sweep: Sweep,
    results: Path,
    launch: Launch,
    tailored: int,
    report_line: Callable[[str], None] = print,
) -> list[Recording]:
    """Launch the missing runs of a sweep and return its recordings, `tailored` weights per layer.

    Diverged runs are left out and reported. The model family of a recording is the first word of
    its model role.

    launch: function that executes a list of specs in a results folder.
    report_line: function that prints a line for each run that diverged.
    Raises UserError if a run is still missing after the launch, if a run recorded too few weights,
    or if all runs diverged. If the sweep itself declares too few weights, the error comes before
    the launch.
    """
    entries = {entry.spec.id: entry for entry in sweep.entries}.values()  # each run once
    for entry in entries:
        _check_width(entry.spec.id, read_option(entry.spec, "tailored"), tailored)
    launch(sweep.specs, results)
    recordings = []
    for entry in entries:
        folder = RunFolder(results, entry.spec.id)
        if not folder.done:
            raise UserError(
                f"{entry.spec.label}: run {entry.spec.id} is not done; run the same command again"
            )
        if folder.diverged:
            report_line(f"left out a run that diverged: {entry.spec.label}")
            continue
        trace = load_trace(folder.path / "trace.safetensors")
        trace["snapshots"] = _select_weights(trace["snapshots"], tailored, entry.spec.id)
        family = entry.roles["model"].split()[0]
        origin = RunOrigin(entry.spec.id, family, entry.roles["dataset"])
        recordings.append(Recording(origin, trace))
    if not recordings:
        raise UserError(f"sweep {sweep.name}: all recorded runs diverged; lower their lr")
    return recordings


def load_trace(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a recording from its file trace.safetensors.

    Raises UserError if the file is missing or damaged.
    """
    try:
        return dict(load_file(path))
    except (OSError, SafetensorError) as error:
        reason = "does not exist" if isinstance(error, FileNotFoundError) else "is damaged"
        raise UserError(f"{path} {reason}; delete its folder to run it again") from None


def refuse_long_rule(sweep: Sweep, rule: Rule) -> None:
    """Raise UserError if a label rule needs more CKA values than any run of a sweep records."""
    most = max(
        1 + read_option(entry.spec, "probes_per_epoch") * entry.spec.epochs
        for entry in sweep.entries
    )
    used = math.ceil(most / rule.every)
    if rule.kind == "stable" and rule.k > used:
        raise UserError(
            f"--k {rule.k} needs more CKA values than a run of the sweep {sweep.name} has "
            f"({used} of {most} with --every {rule.every}); give a --k of at most {used}"
        )


def check_recorded(sweep: Sweep) -> None:
    """Raise UserError unless all runs of a sweep record, with the same measurements per epoch."""
    for entry in sweep.entries:
        if entry.spec.strategy != Record.name:
            raise UserError(
                f"sweep {sweep.name}: {entry.spec.label} uses the strategy {entry.spec.strategy}; "
                f"a predictor is trained on runs of the strategy {Record.name}"
            )
    for name in ("snapshots_per_epoch", "probes_per_epoch"):
        read_shared_option(sweep, name)


def read_shared_option(sweep: Sweep, name: str) -> int:
    """Return an option of the strategy `record`. Raise UserError if the runs have several values.

    The window and the label rule count snapshots and CKA values, so these must have one distance.
    """
    values = sorted({read_option(entry.spec, name) for entry in sweep.entries})
    if len(values) > 1:
        raise UserError(
            f"sweep {sweep.name}: its runs have {name} = {' and '.join(map(str, values))}; give "
            "all of them the same value"
        )
    return values[0]


def read_option(spec: Spec, name: str) -> int:
    """Return an option of the strategy `record` in a spec, or its default."""
    return int(spec.options.get(name, Record.options[name].default))


def _check_width(run: str, recorded: int, n: int) -> None:
    if n > recorded:
        raise UserError(
            f"run {run} records {recorded} weights per layer, fewer than {n}; give a --tailored "
            f"of at most {recorded}"
        )


def _select_weights(snapshots: Tensor, n: int, run: str) -> Tensor:
    """Return snapshots (T, L, n): a random selection of the recorded weights (T, L, recorded).

    The selection is the same for all layers and snapshots of a run. Raises UserError if the run
    recorded fewer than n weights per layer.
    """
    recorded = snapshots.shape[2]
    _check_width(run, recorded, n)
    chosen = torch.randperm(recorded, generator=make_generator("tailored", run))[:n].sort().values
    return snapshots[:, :, chosen]
