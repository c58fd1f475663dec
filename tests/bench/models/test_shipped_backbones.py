"""Tests of the shipped backbones: where they come from, and how their files are written."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from bench.cli.main import main
from bench.errors import UserError
from bench.models import shipped_backbones
from bench.models.anatomy import analyze_model
from bench.models.catalogue import build
from bench.models.shipped_backbones import find_backbone, read_provenance, ship_backbone
from bench.models.weights.loading import load_backbone
from bench.planning.sweep import load_sweep
from bench.planning.sweep_files import load_profile

NAMES = [
    role["backbone"] for role in load_profile("laptop")["models"].values() if "backbone" in role
]


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_backbone_was_trained_on_a_source_task_by_its_sweep(name: str) -> None:
    provenance = read_provenance(find_backbone(name))
    [run] = [e.spec for e in load_sweep("backbones", "laptop").entries if e.roles["model"] == name]
    assert provenance["run"] == run.id
    assert provenance["spec"]["model"] == name
    assert provenance["spec"]["data"] in ("glyphs", "grammar")
    assert provenance["accuracy"] > 60


@pytest.mark.parametrize("name", [name for name in NAMES if "bert" not in name])
def test_a_shipped_backbone_fits_its_model(name: str) -> None:
    layers, _ = analyze_model(name, 10, 24)
    model = build(name, 10, 24, seed=0)
    report = load_backbone(model, find_backbone(name), head=layers[-1].name, name=name)
    assert not report.missing
    assert not report.resampled


def test_shipping_the_same_weights_twice_gives_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shipped_backbones, "FOLDER", tmp_path / "shipped")
    save_file({"b": torch.ones(3), "a": torch.zeros(2)}, tmp_path / "weights.safetensors")
    facts = {"run": "0123456789ab", "accuracy": 71.5}
    written = {
        ship_backbone("mine", tmp_path / "weights.safetensors", facts).read_bytes()
        for _ in range(8)
    }
    assert len(written) == 1
    assert read_provenance(find_backbone("mine")) == facts


def test_an_unknown_backbone_is_an_error_that_lists_the_shipped_ones() -> None:
    with pytest.raises(UserError, match="laptop_resnet"):
        find_backbone("laptop_resnett")


def test_the_command_trains_the_backbones_of_the_sweep_and_writes_their_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    small = tmp_path / "backbones.toml"
    small.write_text(
        'title = "Small"\n'
        'grid = {models = ["tiny"], datasets = ["letters"], seeds = [0]}\n'
        'methods = [{name = "full"}]\n'
        'models.tiny = {model = "laptop_vgg11", epochs = 1, train_limit = 64}\n'
        'datasets.letters = {data = "glyphs:few"}\n'
    )
    monkeypatch.setattr(shipped_backbones, "FOLDER", tmp_path / "shipped")
    monkeypatch.setattr(
        "bench.planning.sweep.load_sweep", lambda name, profile: load_sweep(str(small), profile)
    )
    assert main(["backbones", "--results", str(tmp_path), "--workers", "1"]) == 0
    assert "tiny.safetensors: " in capsys.readouterr().out
    provenance = read_provenance(find_backbone("tiny"))
    assert provenance["spec"]["data"] == "glyphs:few"
    assert provenance["packages"]["torch"] == torch.__version__.partition("+")[0]
