"""Tests of the paper's models at full size: at most four steps with several strategies.

Except for `full` and `shortened`, each strategy freezes layers. The tests show on a CPU that the
paper profile works, from its settings to its results.
"""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.models.anatomy import analyze_model
from bench.planning.run_inputs import resolve_inputs
from bench.planning.sweep_files import load_profile
from bench.spec import Spec
from bench.training.loop import execute
from tests.support.paths import SUPPORT

FORCED = {
    "full": {},
    "linear": {"t0": 0.25},
    f"{SUPPORT}/forced_autofreeze.py:ForcedAutoFreeze": {"M": 4},
    "cka_oracle": {"k": 2, "epsilon": 1.0, "samples": 8, "batch": 4, "stages_per_epoch": 2},
    "smartfrz": {"warmup": 0.0, "threshold": 1e-6},
    "probe": {},
    "random": {"saving": 0.3},
    "shortened": {"saving": 0.3},
    "at_once": {"saving": 0.3},
}
MODELS = ["resnet50", "vgg11", "mobilenet_v2", "deit_tiny"]
# Runs of these models are slow, and VGG11 has 129 million weights. All models but MobileNetV2 leave
# out strategies that do not depend on the kind of model.
SIMPLE = ("linear", "probe", "shortened", "at_once")
SIDES = {"resnet50": 96, "vgg11": 96, "mobilenet_v2": 96}  # pixels; DeiT-T has the profile's 224
LEFT_OUT = {
    "resnet50": SIMPLE,
    "vgg11": (*SIMPLE, "random", "cka_oracle"),
    "deit_tiny": SIMPLE,
}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an image folder with 8 training and 4 test images in two classes."""
    root, draw = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for split, count in (("train", 4), ("val", 2)):
        for name in ("cat", "dog"):
            (root / split / name).mkdir(parents=True)
            for i in range(count):
                pixels = draw.integers(0, 256, (40, 40, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / split / name / f"{i}.png")
    return root


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("results")


def spec_of(model: str, strategy: str, images: Path, **changes: object) -> Spec:
    """Return a run of the paper profile, reduced to four CPU steps with random weights."""
    profile = load_profile("paper")
    values = {**profile["run"], **profile["models"][model], "data": f"folder:{images}"}
    values |= {"device": "cpu", "weights": "", "epochs": 1, "batch_size": 2}
    values["resolution"] = SIDES.get(model, values["resolution"])
    values |= {"strategy": strategy, "options": FORCED[strategy], **changes}
    return resolve_inputs(Spec.from_dict(values), "paper")


@pytest.mark.parametrize("model", MODELS)
def test_four_steps_with_each_strategy(model: str, images: Path, results: Path) -> None:
    compared = "cka_oracle" not in LEFT_OUT.get(model, ())
    reference = spec_of(model, "full", images, keep_model=compared)
    for strategy in FORCED:
        if strategy in LEFT_OUT.get(model, ()):
            continue
        changes = {"reference": f"run:{reference.id}"} if strategy == "cka_oracle" else {}
        spec = reference if strategy == "full" else spec_of(model, strategy, images, **changes)
        result = execute(spec, results)
        assert result["status"] == "done"
        assert result["steps"] == (2 if strategy == "shortened" else 4)
        layers, flops = analyze_model(spec.model, 2, spec.resolution)
        frozen = {
            i for i, layer in enumerate(result["layers"]) if layer["frozen_at_step"] is not None
        }
        assert bool(frozen) == (strategy not in ("full", "shortened")), strategy
        assert len(layers) - 1 not in frozen
        states = result["freeze_states"]
        spent = sum(flops.exact(frozenset(s["frozen"])).total * s["samples"] for s in states)
        assert result["flops"]["exact"]["total"] == pytest.approx(spent)
        if frozen:
            assert states[-1]["saved_bytes"] <= states[0]["saved_bytes"] or strategy == "probe"
