"""Tests of building models by name: seeded weights, trainable parameters, clear errors."""

import pytest
import torch

from bench.batches.factory import make_batches
from bench.errors import UserError
from bench.models.catalogue import build, describe
from bench.models.compatibility import check_pair
from bench.models.laptop import LAPTOP
from bench.spec import Spec


@pytest.mark.parametrize("name", LAPTOP)
def test_weights_depend_on_the_seed_only(name):
    torch.manual_seed(5)
    state = torch.get_rng_state()
    one, same, other = (build(name, 10, 24, seed) for seed in (3, 3, 4))
    assert torch.equal(state, torch.get_rng_state())
    first, second, third = (model.state_dict() for model in (one, same, other))
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert any(not torch.equal(first[key], third[key]) for key in first)


@pytest.mark.parametrize("name", LAPTOP)
@pytest.mark.parametrize("classes", [10, 100])
def test_laptop_model_returns_logits_and_trains_all_parameters(name, classes):
    model = build(name, classes, 24, seed=0)
    scores = model(torch.randn(4, 3, 24, 24))
    assert scores.shape == (4, classes)
    scores.logsumexp(dim=1).sum().backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None, key
        assert torch.isfinite(parameter.grad).all(), key
    assert sum(p.numel() for p in model.parameters()) < 2_000_000


@pytest.mark.parametrize(
    ("name", "resolution", "module"),
    [
        ("resnet18", 32, "torchvision"),
        ("mobilenet_v2", 32, "torchvision"),
        ("inception_v3", 96, "torchvision"),
        ("googlenet", 64, "torchvision"),
        ("vit_b_16", 32, "torchvision"),
        ("deit_tiny_patch16_224", 64, "timm"),
        ("timm:resnet18", 32, "timm"),
        ("convnext_atto", 32, "timm"),
        ("timm:resnet10t.c3_in1k", 32, "timm"),
        ("resnet10t.c3_in1k", 32, "timm"),
    ],
)
def test_torchvision_and_timm_models_build_by_name(name, resolution, module):
    model = build(name, 7, resolution, seed=0)
    assert type(model).__module__.startswith(module)
    model.eval()
    with torch.no_grad():
        assert model(torch.randn(1, 3, resolution, resolution)).shape == (1, 7)


def test_unknown_model_error_suggests_a_close_name():
    with pytest.raises(UserError, match="did you mean 'resnet50'"):
        build("resnet5O", 10, 32, 0)
    with pytest.raises(UserError, match="laptop_resnet"):
        build("", 10, 32, 0)
    with pytest.raises(UserError, match="unknown"):
        build("timm:laptop_deit", 10, 24, 0)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "resnet10t.nope",
            r"no weights of resnet10t with this tag; give one of resnet10t\.c3_in1k,",
        ),
        ("timm:resnet10t.", "no weights of resnet10t with this tag"),
        ("hf_hub:timm/resnet10t.c3_in1k", r"; give timm:resnet10t\.c3_in1k$"),
        ("hf-hub:timm/resnet10t.c3_in1k", r"; give timm:resnet10t\.c3_in1k$"),
        ("timm:hf_hub:me/mine", r"; give timm:NAME and --weights FILE\.safetensors$"),
    ],
)
def test_unknown_tags_and_addresses_of_the_hub_name_what_to_type(name, words):
    with pytest.raises(UserError, match=words) as caught:
        build(name, 10, 32, 0)
    assert str(caught.value).isprintable()


def test_a_tag_does_not_change_the_random_weights():
    one, other = (build(name, 3, 32, 0).state_dict() for name in ("resnet10t", "resnet10t.c3_in1k"))
    assert all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("name", ["laptop_resnett", "timm:vgg1", "resnet5"])
def test_unknown_model_is_noticed_before_data_are_loaded(monkeypatch, name):
    def load_data(*_):
        pytest.fail("the data were loaded")

    monkeypatch.setattr("bench.batches.factory.load_data", load_data)
    with pytest.raises(UserError, match=r"is unknown \(did you mean"):
        make_batches(Spec(model=name, data="digits10"), torch.device("cpu"))


@pytest.mark.parametrize("name", ["laptop_deit", "vgg11", "timm:vgg11", "deit_tiny_patch16_224"])
def test_image_models_of_all_libraries_fit_images_only(name):
    check_pair(name, "digits10")
    with pytest.raises(UserError, match=f"mrpc contains texts, but {name} needs images"):
        check_pair(name, "mrpc")


def test_unsupported_resolution_raises_one_line_error():
    with pytest.raises(UserError, match=r"--resolution \d+") as caught:
        build("vit_b_16", 10, 33, 0)
    assert "\n" not in str(caught.value)


def test_describe_has_one_line_per_model():
    assert set(LAPTOP) < set(describe())
    assert all(text and "\n" not in text for text in describe().values())


@pytest.mark.parametrize(
    ("name", "resolution", "least"),
    [
        ("vit_tiny_patch16_224", 40, 32),
        ("timm:deit_tiny_patch16_224", 30, 16),
        ("swin_tiny_patch4_window7_224", 30, 28),
        ("swin_t", 31, 28),
        ("pit_ti_224", 20, 16),  # its patches overlap
        ("mixer_s32_224", 40, 32),
        ("laptop_deit", 32, 30),
    ],
)
def test_patches_that_leave_out_pixels_are_refused(name, resolution, least):
    with pytest.raises(UserError, match=rf"pass --resolution {least} or \d+$") as caught:
        build(name, 2, resolution, seed=0)
    assert str(caught.value).isprintable()
    nearest = int(str(caught.value).split()[-1])
    assert least < resolution < nearest
    for side in (least, nearest):
        build(name, 2, side, seed=0)


@pytest.mark.parametrize(
    ("name", "resolution"),
    [("convnext_tiny", 35), ("timm:convnext_atto", 35), ("alexnet", 65), ("squeezenet1_1", 33)],
)
def test_convolutional_networks_may_leave_out_pixels_at_the_edge(name, resolution):
    build(name, 2, resolution, seed=0)
