"""The recorded runs a predictor learns from: full training on source tasks, beside references."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from bench.errors import UserError
from bench.planning.sweep import Sweep, load_sweep
from bench.planning.sweep_files import load_profile
from bench.results.run_folder import RunFolder
from bench.seeds import make_generator
from bench.spec import Spec
from strategies.smartfrz.training.corpus import Recording, RunOrigin

Launch = Callable[[Sequence[Spec], Path], Any]


def load_source_sweep(profile: str, files: Mapping[str, str] | None = None) -> Sweep:
    """A profile's recorded runs; raises UserError if any of them saw anything but source tasks.

    files: as for `load_sweep`.
    """
    declared = load_profile(profile).get("predictor", {})
    if not declared.keys() >= {"sweep", "sources"}:
        raise UserError(f"profile {profile}: [predictor] needs sweep and sources; see laptop.toml")
    sweep = load_sweep(declared["sweep"], profile, files=files)
    refuse_targets(sweep)
    return sweep


def refuse_targets(sweep: Sweep) -> None:
    """Raise UserError if a run of a sweep, or its backbone, saw anything but source tasks."""
    sources = sweep.profile["predictor"]["sources"]
    for spec in sweep.specs:
        if spec.data.partition(":")[0] not in sources:
            raise UserError(
                f"sweep {sweep.name}: {spec.data} is no source task; a predictor that saw it could"
                " not be judged on it. Use variants of " + ", ".join(sources)
            )


def load_recordings(
    sweep: Sweep,
    results: Path,
    launch: Launch,
    tailored: int,
    say: Callable[[str], None] = print,
) -> list[Recording]:
    """The recorded runs of a sweep with `tailored` weights a layer; those missing are made first.

    A diverged one is told and left out. A model's role is its family, and which of its kin it is.
    Raises UserError if a run is missing in the end.
    """
    launch(sweep.specs, results)
    recordings = []
    for entry in sweep.entries:
        folder = RunFolder(results, entry.spec.id)
        if not folder.done:
            raise UserError(f"{entry.spec.label}: run {entry.spec.id} is not done; run this again")
        if folder.diverged:
            say(f"left out, since it diverged: {entry.spec.label}")
            continue
        trace = load_file(folder.path / "trace.safetensors")
        trace["snapshots"] = _select_weights(trace["snapshots"], tailored, entry.spec.id)
        family = entry.roles["model"].split()[0]
        origin = RunOrigin(entry.spec.id, family, entry.roles["dataset"])
        recordings.append(Recording(origin, trace))
    return recordings


def _select_weights(snapshots: Tensor, n: int, run: str) -> Tensor:
    """The same n of a layer's weights in all snapshots (T, L, more)."""
    recorded = snapshots.shape[2]
    if n > recorded:
        raise UserError(f"run {run} recorded {recorded} weights a layer, fewer than {n}")
    chosen = torch.randperm(recorded, generator=make_generator("tailored", run))[:n].sort().values
    return snapshots[:, :, chosen]
