"""Run of the harness whose steps are timed, and an equivalent reference loop in plain PyTorch."""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from bench.batches.factory import load_data
from bench.data.images.augmentation import NORMALISATIONS
from bench.layers.discovery import Layer
from bench.perf.reference_loop import ReferenceLoop
from bench.perf.subjects import PAPER, SUBJECTS
from bench.planning.run_inputs import resolve_inputs
from bench.results.run_folder import RunFolder
from bench.seeds import make_generator
from bench.spec import Spec
from bench.training.loop import prepare
from bench.training.run_state import RunState
from bench.training.training_step import take_step

STEPS = 10**6  # more steps than any measurement takes, so the schedule never ends
SHARES = (0.25, 0.5, 0.75)
CASES = tuple(f"{kind} {share:.0%}" for kind in ("prefix", "random") for share in SHARES)
IMAGES, CLASSES = 1280, 10


@dataclass(frozen=True)
class PerfSettings:
    """Settings of a `freezebench perf` measurement.

    threads: number of CPU threads.
    resolution: image side in pixels for the paper's models.
    seconds: time of one measurement.
    place: folder for the files of the timed runs.
    models: models to measure.
    cases: freeze states to measure; all states if empty.
    precision, channels_last: as in Spec.
    """

    device: str
    threads: int
    resolution: int
    batch_size: int
    seconds: float
    place: Path
    models: Collection[str] = SUBJECTS
    cases: Collection[str] = ()
    precision: str = "float32"
    channels_last: bool = False

    def select_models(self, models: Iterable[str]) -> list[str]:
        """Return the models of a section that the settings select, in the given order."""
        return [model for model in models if model in self.models]

    def select_states(self, layers: int) -> dict[str, frozenset[int]]:
        """Return the selected freeze states of a model with `layers` layers, as frozen indices."""
        states = make_freeze_states(layers)
        return {case: states[case] for case in CASES if not self.cases or case in self.cases}

    @property
    def torch_device(self) -> torch.device:
        """Device of the measurement, as a torch.device."""
        return torch.device(self.device)


def make_spec(settings: PerfSettings, model: str, **changes: object) -> Spec:
    """Return the spec of a laptop model on digits10, or of a paper model on noise images."""
    values: dict[str, object] = {
        "model": model,
        "batch_size": settings.batch_size,
        "device": settings.device,
        "threads": settings.threads,
        "lr": 1e-3,
        "momentum": 0.9,
        "weight_decay": 1e-4,
        "augment": "none",
        "normalisation": "half",
        "precision": settings.precision,
        "channels_last": settings.channels_last,
    }
    if model in PAPER:
        data = f"folder:{write_noise_images(settings.place)}"
        values |= {"data": data, "resolution": settings.resolution, "epochs": 1000}
    else:
        values |= {"data": "digits10", "resolution": 24}
    return resolve_inputs(Spec.from_dict({**values, **changes}), "laptop")


def write_noise_images(place: Path) -> Path:
    """Write a folder of noise images if it is missing. Return its path.

    The images have 32 x 32 pixels and ten classes.

    The measured times do not depend on the contents of the images.
    """
    root = place / "noise"
    if not root.exists():
        draw = np.random.default_rng(0)
        for split, count in (("train", IMAGES), ("val", CLASSES)):
            for i in range(count):
                path = root / split / f"class{i % CLASSES}" / f"{i}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(draw.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(path)
    return root


class Harness:
    """A prepared run whose steps can be timed, and whose layers can be frozen or thawed anytime.

    results: folder with the runs that provide its initial weights.
    place: folder for its own files, by default `results`.
    """

    def __init__(self, spec: Spec, results: Path, place: Path | None = None) -> None:
        self.run = RunState(spec, results)
        self.folder = RunFolder(place or results, spec.id)
        self.folder.create()
        self.folder.remove("checkpoint.pt")
        prepare(self.run, self.folder)
        self.run.view.total_steps = STEPS
        self.step = partial(take_step, self.run)

    @property
    def layers(self) -> tuple[Layer, ...]:
        """Layers of the model."""
        return self.run.layers

    def freeze(self, frozen: Collection[int]) -> None:
        """Freeze exactly these layers, as a freezing stage does, and take one step.

        The first step in a freeze state allocates memory, so it should not be timed.
        """
        run, wanted = self.run, frozenset(frozen)
        if wanted != run.freezer.frozen:
            run.freezer.thaw(run.freezer.frozen - wanted)
            run.freezer.freeze(wanted - run.freezer.frozen)
            run.view.frozen = run.freezer.frozen
            run.accounting.enter_state(run.view.step, run.view.frozen)
            if run.prefix_forward:
                run.prefix_forward.enter(run.view.step)
            if run.compiled:
                run.compiled.enter()
        self.step()


def build_reference_loop(harness: Harness) -> ReferenceLoop:
    """Build the reference loop on a copy of the harness's model, with its images and settings."""
    run, spec, device = harness.run, harness.run.spec, harness.run.device
    data = load_data(spec.data, spec.resolution, "test", spec.paths.get("data", ""), 0)
    mean, std = (torch.tensor(v, device=device) for v in NORMALISATIONS[spec.normalisation])
    return ReferenceLoop(
        copy.deepcopy(run.model).requires_grad_(True),
        run.layers,
        data.train_images.to(device),
        data.train_labels.to(device),
        mean,
        std,
        batch_size=spec.batch_size,
        lr=spec.lr,
        momentum=spec.momentum,
        weight_decay=spec.weight_decay,
        total=STEPS,
        bfloat16=spec.precision == "bfloat16",
    )


def make_freeze_states(layers: int) -> dict[str, frozenset[int]]:
    """Return the freeze states of the benchmark for a model with `layers` layers, by name.

    The prefix states freeze the first 25, 50 or 75 % of the layers. Each random state freezes the
    same number of layers as a prefix state. Its layers are drawn among all but the first layer and
    the head, so they are never a prefix.
    """
    states = {f"prefix {share:.0%}": frozenset(range(round(share * layers))) for share in SHARES}
    for share in SHARES:
        order = torch.randperm(
            layers - 2, generator=make_generator("perf", "mask", layers, str(share))
        )
        chosen = (order[: round(share * layers)] + 1).tolist()
        states[f"random {share:.0%}"] = frozenset(chosen)
    return states
