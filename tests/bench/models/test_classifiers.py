"""Tests of models with several classifiers, and of models that cannot run at a resolution."""

import pytest

from bench.errors import UserError
from bench.models.anatomy import analyze_model


@pytest.mark.parametrize(
    ("name", "side", "heads"),
    [
        ("deit_tiny_distilled_patch16_224", 32, ("head", "head_dist")),
        ("levit_128s", 224, ("head.linear", "head_dist.linear")),
        ("repvit_m0_9", 64, ("head.head.l", "head.head_dist.l")),
    ],
)
def test_all_classifiers_are_the_last_layer(name, side, heads):
    layers, flops = analyze_model(name, 5, side)
    assert (layers[-1].name, *layers[-1].others) == heads
    assert {f"{head}.weight" for head in heads} <= set(layers[-1].parameters)
    assert not any(p.startswith(heads) for layer in layers[:-1] for p in layer.parameters
                   if not p.startswith(("head.bn", "head_dist.bn", "head.head")))  # fmt: skip
    assert [layer.head for layer in layers] == [False] * (len(layers) - 1) + [True]
    assert sum(flops.forward) >= flops.forward[-1] > 0


@pytest.mark.parametrize(
    ("name", "side", "built"),
    [
        ("alexnet", 32, "224 × 224 and needs at least 63 × 63"),
        ("inception_v3", 32, "299 × 299 and needs at least 75 × 75"),
    ],
)
def test_resolution_that_fails_gives_the_size_of_the_model(name, side, built):
    with pytest.raises(UserError, match=f"{name} cannot run on images of 3 × 32 × 32") as caught:
        analyze_model(name, 5, side)
    assert f"it was built for {built}; pass --resolution" in str(caught.value)
    assert "\n" not in str(caught.value)
