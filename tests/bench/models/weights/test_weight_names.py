"""Tests of weights under other names: wrappers, older versions of a library, several copies."""

import os
import re

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file

from bench.errors import UserError
from bench.models.catalogue import build
from bench.models.weights import loading
from bench.models.weights.files import convert
from bench.models.weights.loading import load_backbone

SMALL, HEAD = "laptop_mobilenet_v2", "classifier.1"


def draw(model, seed=1):
    """Return a state in which every float is random, so that no default equals it."""
    torch.manual_seed(seed)
    return {k: torch.rand_like(v) if v.is_floating_point() else v for k, v in state(model).items()}


def state(model):
    return {key: value.clone() for key, value in model.state_dict().items()}


def check_loaded(model, expected, head):
    found = model.state_dict()
    for key, value in expected.items():
        if not key.startswith(head) and key in found and not key.endswith("num_batches_tracked"):
            assert torch.equal(found[key], value), key


def load(tmp_path, model, given, head, name):
    path = tmp_path / "w.safetensors"
    save_file({key: value.clone().contiguous() for key, value in given.items()}, path)
    return load_backbone(model, path, head=head, name=name)


@pytest.mark.parametrize(
    ("wrap", "said"),
    [
        (lambda key: f"module.{key}", "module."),
        (lambda key: f"_orig_mod.{key}", "_orig_mod."),
        (lambda key: f"model.{key}", "model."),
        (lambda key: f"module._orig_mod.{key}", "module., _orig_mod."),
        (lambda key: f"model.net.{key}", "model., net."),
        (lambda key: key.replace("features.", "features.module."), "module."),
    ],
)
def test_wrapper_prefixes_are_dropped_and_reported(tmp_path, wrap, said):
    model = build(SMALL, 10, 24, seed=2)
    expected = draw(model)
    report = load(tmp_path, model, {wrap(k): v for k, v in expected.items()}, HEAD, SMALL)
    check_loaded(model, expected, HEAD)
    assert f"dropped {said} from the tensor names" in report.note
    assert "\n" not in report.note


def test_tensors_beside_a_wrapped_model_are_left_out_and_reported(tmp_path):
    model = build(SMALL, 10, 24, seed=2)
    expected = draw(model)
    given = {f"net.{key}": value for key, value in expected.items()}
    report = load(tmp_path, model, {**given, "loss.pos_weight": torch.ones(2)}, HEAD, SMALL)
    check_loaded(model, expected, HEAD)
    assert "dropped net. (left out loss.pos_weight) from the tensor names" in report.note


@pytest.mark.parametrize(
    ("name", "head", "wrap", "own_head", "said"),
    [
        ("laptop_resnet", "fc", "backbone.", "fc.", "backbone."),
        ("laptop_resnet", "fc", "encoder.", "fc.", "encoder."),
        ("laptop_resnet", "fc", "model.backbone.", "model.fc.", "model., backbone."),
        ("laptop_resnet", "fc", "model.backbone.", "conv1.", "model., backbone."),
        (SMALL, HEAD, "backbone.", "classifier.", "backbone."),
        (SMALL, HEAD, "features.", "features.classifier.9.", "features."),
        ("laptop_deit", "head", "backbone.", "head.", "backbone."),
        ("laptop_deit", "head", "module.backbone.", "module.head.mlp.", "module., backbone."),
    ],
)
def test_a_backbone_beside_another_head_loads(tmp_path, name, head, wrap, own_head, said):
    """Load from a wrapper that names its head, or another layer, as the model does."""
    model = build(name, 10, 24, seed=2)
    expected = draw(model)
    given = {f"{wrap}{k}": v for k, v in expected.items() if not k.startswith(head)}
    given |= {f"{own_head}weight": torch.ones(5, 7), "criterion.weight": torch.ones(2)}
    report = load(tmp_path, model, given, head, name)
    check_loaded(model, expected, head)
    assert f"dropped {said}" in report.note
    assert not report.missing


def test_a_whole_copy_beside_a_part_of_the_model_is_refused(tmp_path):
    model = build(SMALL, 10, 24, seed=2)
    expected = draw(model)
    given = {k: v for k, v in expected.items() if not k.startswith("features.6.")}
    given |= {f"ema.{key}": value for key, value in expected.items()}
    with pytest.raises(UserError, match=r"lacks \d+ tensors: features\.6\."):
        load(tmp_path, model, given, HEAD, SMALL)


@pytest.mark.parametrize("replaced", ["", "0.", "4.", "fc1."])
def test_a_classifier_that_was_replaced_as_a_whole_is_left_out(tmp_path, replaced):
    """Replace the classifier by nn.Linear(…), or by layers with other indices."""
    model = build(SMALL, 10, 24, seed=2)
    expected = draw(model)
    given = {k: v for k, v in expected.items() if not k.startswith("classifier.")}
    report = load(
        tmp_path, model, {**given, f"classifier.{replaced}weight": torch.ones(5, 7)}, HEAD, SMALL
    )
    check_loaded(model, expected, HEAD)
    assert report.note.endswith(
        f"left out the file's own head (1 tensor: classifier.{replaced}weight)"
    )


def test_layers_beside_the_head_must_be_in_the_file_and_fit(tmp_path):
    """Require classifier.0 of MobileNetV3 in the file.

    Like the first layers in the classifier of VGG, this layer is no head.
    """
    name, head = "mobilenet_v3_small", "classifier.3"
    model = build(name, 2, 32, seed=2)
    expected = draw(model)
    body = {k: v for k, v in expected.items() if not k.startswith("classifier.")}
    with pytest.raises(UserError, match=r"--weights-may-lack classifier$"):
        load(tmp_path, model, {**body, "classifier.weight": torch.ones(5, 7)}, head, name)
    own_head = {"classifier.0.weight": torch.ones(9, 576), "classifier.2.weight": torch.ones(5, 9)}
    with pytest.raises(UserError, match=r"classifier\.0\.weight has shape \(9, 576\)") as caught:
        load(tmp_path, model, body | {"classifier.0.bias": torch.ones(1024)} | own_head, head, name)
    assert str(caught.value).endswith("w.safetensors --drop classifier")
    report = load(tmp_path, model, {**expected, "classifier.9.bias": torch.ones(1)}, head, name)
    assert "classifier.0.weight" in report.loaded


def test_of_two_encoders_the_trained_one_is_advised(tmp_path):
    """Advise MoCo's query encoder, because its key encoder is a moving average of it."""
    model = build(SMALL, 10, 24, seed=2)
    given = {f"module.encoder_{i}.{k}": v for i in "kq" for k, v in draw(model).items()}
    with pytest.raises(UserError, match=r"--keep module\.encoder_q$"):
        load(tmp_path, model, {**given, "module.queue": torch.ones(2)}, HEAD, SMALL)


def test_two_copies_of_the_weights_are_refused(tmp_path):
    """Refuse the file, because nothing tells whether averaged or last weights are meant."""
    model = build(SMALL, 10, 24, seed=2)
    given = {f"net.{key}": value for key, value in draw(model, seed=3).items()}
    given |= {f"ema.{key}": value for key, value in draw(model).items()}
    with pytest.raises(UserError, match=r"several copies of the model \(ema\., net\.\)") as caught:
        load(tmp_path, model, given, HEAD, SMALL)
    assert str(caught.value).endswith("w.safetensors --keep ema")
    convert(tmp_path / "w.safetensors", keep="ema")
    load_backbone(model, tmp_path / "w.ema.safetensors", head=HEAD, name=SMALL)
    check_loaded(model, draw(model), HEAD)


@pytest.mark.parametrize("wrap", ["", "module."])
def test_counters_of_other_tools_are_no_weights(tmp_path, wrap):
    """Ignore the update counter of torch's AveragedModel and thop's counters of operations."""
    model = build(SMALL, 10, 24, seed=2)
    expected = draw(model)
    given = {f"{wrap}{key}": value for key, value in expected.items()}
    counters = ("n_averaged", f"{wrap}total_ops", f"{wrap}features.0.total_params")
    load(tmp_path, model, {**given, **dict.fromkeys(counters, torch.tensor([3.0]))}, HEAD, SMALL)
    check_loaded(model, expected, HEAD)


def test_a_counter_may_be_a_list_of_one(tmp_path):
    model = build(SMALL, 10, 24, seed=2)
    given = draw(model)
    counters = {k: torch.tensor([7]) for k in given if k.endswith("num_batches_tracked")}
    load(tmp_path, model, {**given, **counters}, HEAD, SMALL)
    found = model.state_dict()
    assert counters
    assert all(found[key].shape == () and found[key] == 7 for key in counters)


def test_a_weights_file_may_have_a_name_that_is_not_utf_8(tmp_path):
    model = build(SMALL, 10, 24, seed=2)
    expected = draw(model)
    save_file(expected, tmp_path / "w.safetensors")
    path = (tmp_path / "w.safetensors").rename(tmp_path / os.fsdecode(b"caf\xe9.safetensors"))
    load_backbone(model, path, head=HEAD, name=SMALL)
    check_loaded(model, expected, HEAD)


def test_plain_names_give_no_note(tmp_path):
    model = build(SMALL, 10, 24, seed=2)
    assert load(tmp_path, model, draw(model), HEAD, SMALL).note == ""


def make_old_dense(key):
    return re.sub(r"(denselayer\d+\.(?:norm|conv))([12]\.)", r"\1.\2", key)


def make_old_vit(key):
    return key.replace("mlp.0.", "mlp.linear_1.").replace("mlp.3.", "mlp.linear_2.")


def make_old_swin(key):
    move = re.sub(r"layers\.(\d)\.down", lambda m: f"layers.{int(m[1]) - 1}.down", key)
    return move.replace("head.fc.", "head.")


@pytest.mark.parametrize(
    ("name", "side", "head", "older"),
    [
        ("densenet121", 32, "classifier", make_old_dense),
        ("vit_b_16", 32, "heads.head", make_old_vit),
        ("swin_tiny_patch4_window7_224", 224, "head.fc", make_old_swin),
        ("timm:densenet121", 32, "classifier", make_old_dense),
    ],
)
def test_older_names_load_as_in_the_library(tmp_path, name, side, head, older):
    model = build(name, 2, side, seed=0)
    expected = draw(model)
    given = {older(k): v for k, v in expected.items() if not k.endswith("num_batches_tracked")}
    assert given.keys() != expected.keys()
    load(tmp_path, model, given, head, name)
    check_loaded(model, expected, head)


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_published_auxiliary_heads_are_dropped(name, monkeypatch):
    builder = torchvision.models.get_model_builder(name)
    given = draw(builder(weights=None, aux_logits=True, init_weights=False))
    monkeypatch.setattr(loading, "load_published", lambda _: given)
    model = build(name, 2, 96, seed=0)
    load_backbone(model, "pretrained", head="fc", name=name)
    check_loaded(model, given, "fc")


def test_every_classifier_keeps_its_random_weights(tmp_path):
    name, heads = "deit_tiny_distilled_patch16_224", ("head", "head_dist")
    given = draw(timm.create_model(name, num_classes=7, img_size=32))
    model = build(name, 2, 32, seed=0)
    load(tmp_path, model, given, heads, name)
    check_loaded(model, given, heads)


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.float8_e4m3fn])
def test_quantised_weights_are_refused(tmp_path, dtype):
    model = build(SMALL, 10, 24, seed=2)
    given = state(model)
    given["features.0.0.weight"] = given["features.0.0.weight"].to(dtype)
    with pytest.raises(UserError, match=r"features\.0\.0\.weight has dtype .*quantised"):
        load(tmp_path, model, given, HEAD, SMALL)


def test_file_for_another_model_suggests_no_option(tmp_path):
    model = build(SMALL, 10, 24, seed=2)
    with pytest.raises(UserError, match="no tensor name fits") as caught:
        load(tmp_path, model, {"a.weight": torch.zeros(1), "b.weight": torch.zeros(1)}, HEAD, SMALL)
    assert "--weights-may-lack" not in str(caught.value)
