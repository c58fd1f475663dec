"""Tests of load_backbone: complete loads, clear errors, no partial changes."""

import shlex
from pathlib import Path

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch.nn.utils import prune

from bench.errors import UserError
from bench.files import hash_file
from bench.models.catalogue import TIMM, build
from bench.models.weights.files import convert
from bench.models.weights.loading import identify_published, load_backbone

MODEL, HEAD = "laptop_mobilenet_v2", "classifier.1"


def state_of(model):
    return {key: value.clone() for key, value in model.state_dict().items()}


@pytest.fixture
def source():
    return state_of(build(MODEL, 10, 24, seed=1))


def load(tmp_path, tensors, model, **more):
    path = tmp_path / "w.safetensors"
    save_file({key: value.contiguous() for key, value in tensors.items()}, path)
    return load_backbone(model, path, head=HEAD, name=MODEL, **more)


def refuse(tmp_path, tensors, match, **more):
    model = build(MODEL, 10, 24, seed=2)
    before = state_of(model)
    with pytest.raises(UserError, match=match) as caught:
        load(tmp_path, tensors, model, **more)
    assert "\n" not in str(caught.value)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


def test_everything_except_the_head_is_copied(tmp_path, source):
    model = build(MODEL, 100, 24, seed=2)  # another number of classes
    before = state_of(model)
    report = load(tmp_path, source, model)
    for key, value in model.state_dict().items():
        kept = before if key.startswith(HEAD) else source
        assert torch.equal(value, kept[key]), key
    assert report.missing == ()
    assert set(report.loaded) == {key for key in before if not key.startswith(HEAD)}


def test_half_precision_and_missing_head_or_counters_load(tmp_path, source):
    model = build(MODEL, 10, 24, seed=2)
    given = {
        key: value.half() if value.is_floating_point() else value
        for key, value in source.items()
        if not key.startswith(HEAD) and not key.endswith("num_batches_tracked")
    }
    load(tmp_path, given, model)
    state = model.state_dict()
    assert all(state[key].dtype == torch.float32 for key in given)
    assert all(torch.equal(state[key], value.float()) for key, value in given.items())


def test_partial_file_raises_unless_allowed(tmp_path, source):
    given = {k: v for k, v in source.items() if not k.startswith("features.4.")}
    refuse(tmp_path, given, r"lacks \d+ tensors: features\.4\.")
    model = build(MODEL, 10, 24, seed=2)
    report = load(tmp_path, given, model, allow_missing=["features.4"])
    assert report.missing
    assert all(key.startswith("features.4.") for key in report.missing)


def test_only_modules_that_lack_all_tensors_may_start_randomly(tmp_path, source):
    """Suggest only prefixes without any present tensor.

    With other prefixes, most of the network would start from random values.
    """
    given = {
        k: v for k, v in source.items() if not k.startswith(("features.4.", "features.6.conv.1."))
    }
    refuse(tmp_path, given, r"--weights-may-lack features\.4,features\.6\.conv\.1$")
    first = dict.fromkeys(["features.0.0.weight"], source["features.0.0.weight"])
    unhelpful = {k: v for k, v in source.items() if "running" not in k}
    for given, match in ((first, "that holds the whole model$"), (unhelpful, "whole state_dict$")):
        refuse(tmp_path, given, match)


def test_one_part_of_the_weights_is_named_as_such(tmp_path, source):
    path = tmp_path / "model-00001-of-00002.safetensors"
    save_file({"features.0.0.weight": source["features.0.0.weight"]}, path)
    with pytest.raises(UserError, match="is one part of 2"):
        load_backbone(build(MODEL, 10, 24, seed=0), path, head=HEAD, name=MODEL)


@pytest.mark.parametrize("prefix", ["", "module."])
def test_pruned_weights_are_named_as_such(tmp_path, source, prefix):
    model = build(MODEL, 10, 24, seed=1)
    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d):
            prune.l1_unstructured(module, "weight", 0.5)
    pruned = {f"{prefix}{key}": value for key, value in state_of(model).items()}
    refuse(tmp_path, pruned, r"is pruned, .*; call torch\.nn\.utils\.prune\.remove\(module")
    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d):
            prune.remove(module, "weight")
    load(tmp_path, state_of(model), build(MODEL, 10, 24, seed=2))


def test_unknown_names_wrong_shapes_and_nan_raise(tmp_path, source):
    refuse(tmp_path, {**source, "extra.weight": torch.zeros(1)}, "extra.weight, not found in")
    wide = {**source, "features.0.0.weight": torch.zeros(64, 3, 3, 3)}
    refuse(tmp_path, wide, r"shape \(64, 3, 3, 3\)")
    broken = {**source, "features.0.0.weight": source["features.0.0.weight"] / 0}
    refuse(tmp_path, broken, "NaN or infinity")


@pytest.mark.parametrize("wrap", ["", "module."])
def test_tensors_beyond_the_model_are_left_out_by_the_command_in_the_error(tmp_path, source, wrap):
    """Add tensors that the model lacks, as in files of SwAV and MAE."""
    extra = ("projection_head.0.weight", "projection_head.1.running_mean", "decoder_pos_embed")
    given = source | {key: torch.ones(1) for key in extra}
    model = build(MODEL, 10, 24, seed=2)
    with pytest.raises(UserError, match=r"has 3 tensors: .*, not found in") as caught:
        load(tmp_path, {f"{wrap}{key}": value for key, value in given.items()}, model)
    words = shlex.split(str(caught.value).partition(" with: ")[2])
    assert words[-2:] == ["--drop", f"{wrap}decoder_pos_embed,{wrap}projection_head"]
    convert(Path(words[-3]), drop=words[-1].split(","))
    report = load_backbone(model, tmp_path / "w.reduced.safetensors", head=HEAD, name=MODEL)
    assert not report.missing
    assert all(torch.equal(model.state_dict()[key], source[key]) for key in report.loaded)


def test_further_layers_of_a_larger_model_are_not_offered_to_be_left_out(tmp_path, source):
    refuse(tmp_path, {**source, "features.99.weight": torch.zeros(1)}, "a file for this model$")


def test_position_embeddings_are_resampled_from_another_resolution(tmp_path):
    small, large = (build("laptop_deit", 10, side, seed=1) for side in (24, 48))
    path = tmp_path / "w.safetensors"
    save_file(state_of(large), path)
    report = load_backbone(small, path, head="head")
    assert report.resampled == ("pos_embed",)
    # The position of the class token is not part of the grid, so it is copied unchanged.
    torch.testing.assert_close(small.pos_embed[:, 0], large.pos_embed[:, 0])
    assert torch.isfinite(small.pos_embed).all()


@pytest.mark.parametrize("damage", ["cut", "text", "empty"])
def test_damaged_file_raises_one_line_error(tmp_path, source, damage):
    path = tmp_path / "w.safetensors"
    save_file(source, path)
    whole = path.read_bytes()
    path.write_bytes({"cut": whole[: len(whole) // 2], "text": b"hello" * 99, "empty": b""}[damage])
    with pytest.raises(UserError, match="not a readable safetensors file") as caught:
        load_backbone(build(MODEL, 10, 24, seed=0), path, head=HEAD)
    assert "\n" not in str(caught.value)


def test_missing_file_and_unpublished_weights_raise_clear_errors(tmp_path):
    model = build(MODEL, 10, 24, seed=0)
    with pytest.raises(UserError, match=r"--weights FILE\.safetensors"):
        load_backbone(model, tmp_path / "none.safetensors", head=HEAD)
    with pytest.raises(UserError, match="no published weights"):
        load_backbone(model, "pretrained", head=HEAD, name=MODEL)


def test_a_tag_of_timm_selects_the_published_weights():
    one, other = (identify_published(f"{TIMM}resnet50.{tag}") for tag in ("a1_in1k", "a2_in1k"))
    assert (one, other) == ("timm/resnet50.a1_in1k:a1_in1k", "timm/resnet50.a2_in1k:a2_in1k")


def test_failed_download_suggests_weights_option(monkeypatch):
    def fail(*args, **kwargs):
        raise OSError("no\nnetwork")

    monkeypatch.setattr(torchvision.models, "get_model_weights", fail)
    with pytest.raises(UserError, match=r"no network.*--weights FILE\.safetensors"):
        load_backbone(build("resnet18", 10, 32, 0), "pretrained", head="fc", name="resnet18")


def test_hash_file_depends_on_the_content_only(tmp_path):
    for name, text in (("a", b"one"), ("b", b"one"), ("c", b"two")):
        (tmp_path / name).write_bytes(text)
    a, b, c = (hash_file(tmp_path / name) for name in "abc")
    assert a == b != c
    assert len(a) == 16
    with pytest.raises(UserError):
        hash_file(tmp_path / "none")
