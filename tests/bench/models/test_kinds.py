"""Every model has a kind, and every published strategy says for which kinds it was made."""

import pytest

from bench.models.kinds import KINDS, find_kind
from bench.strategy_api.built_in import find_built_in

OWN = ("full", "record")  # neither control nor published method


@pytest.mark.parametrize(
    ("model", "kind"),
    [
        ("laptop_resnet", "convolutional network"),
        ("mobilenet_v2", "convolutional network"),
        ("laptop_deit", "vision transformer"),
        ("deit_tiny_patch16_224", "vision transformer"),
        ("timm:vit_small_patch16_224", "vision transformer"),
        ("swin_v2_t", "vision transformer"),
        ("laptop_bert", "text classifier"),
        ("lora:laptop_bert", "text classifier"),
        ("laptop_llama", "language model"),
    ],
)
def test_the_kind_of_a_model_follows_from_its_name(model: str, kind: str) -> None:
    assert find_kind(model) == kind


@pytest.mark.parametrize("name", find_built_in())
def test_published_strategies_name_known_kinds_of_model(name: str) -> None:
    facts = find_built_in()[name]
    assert set(facts.made_for) <= set(KINDS)
    assert bool(facts.made_for) == (not facts.is_control and name not in OWN)
