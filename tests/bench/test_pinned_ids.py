"""Pinned run ids: finished runs are found by id, so a code change must not change any id.

Only if results change, increase RESULTS_VERSION and update the ids here.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from bench.data.catalogue import list_data_sets
from bench.models.anatomy import analyze_model
from bench.planning.run_inputs import resolve_inputs
from bench.spec import Spec

VGG, BERT = "laptop_vgg11", "laptop_bert"
DATA_SETS = {
    "digits10": (VGG, "83e70f965e13"),
    "symbols100": (VGG, "fab3c17dc42b"),
    "glyphs": (VGG, "18ddeec7899f"),
    "glyphs:upper": (VGG, "ed0eb0bbe16d"),
    "glyphs:lower": (VGG, "e122c49f8aaf"),
    "glyphs:few": (VGG, "2ec8ae2705e4"),
    "glyphs:phonetic": (VGG, "dc6795c32360"),
    "glyphs:noisy": (VGG, "eb8804d09970"),
    "glyphs:tilted": (VGG, "375d22ad7ef6"),
    "glyphs:barred": (VGG, "32742fd9e480"),
    "glyphs:pairs": (VGG, "ea6e9219bf0d"),
    "glyphs:lowerpairs": (VGG, "0b8068098431"),
    "cifar10": (VGG, "d4168f890eb4"),
    "cifar100": (VGG, "db1eaf24d8cf"),
    "imagenet": (VGG, "1f52b5143bf1"),
    "grammar": ("laptop_bert_mlm", "62a492909943"),
    "grammar:acceptability": (BERT, "5f67f6ac1082"),
    "grammar:paraphrase": (BERT, "b86e6bdf62cc"),
    "mrpc": (BERT, "4e031f25ac93"),
    "cola": (BERT, "a0e0668061a1"),
}

SIZES = {"laptop_bert": 16, "laptop_bert_mlm": 16, "laptop_llama": 16}  # words; images: pixels
LAYERS = {
    "laptop_resnet": "aeebda51ac73",
    "laptop_vgg11": "8c9c956cd789",
    "laptop_mobilenet_v2": "9534c8d49b32",
    "laptop_deit": "9a7996d51967",
    "laptop_bert": "55780589c35a",
    "laptop_bert_mlm": "bfdb41733b80",
    "laptop_llama": "dfabe0cd452a",
}

STRATEGIES: list[tuple[str, dict[str, Any], str]] = [
    ("full", {}, "83e70f965e13"),
    ("linear", {"t0": 0.2, "spacing": "cubic"}, "4f16b56f7363"),
    ("autofreeze", {"M": 3, "N": 90}, "ab370281a537"),
    ("cka_oracle", {"epsilon": 0.5, "k": 2}, "473f303231eb"),
    ("smartfrz", {"stages_per_epoch": 3, "warmup": 0.0, "threshold": 0.2}, "feea1c691644"),
    ("probe", {}, "0aebc0277902"),
    ("prefix", {"k": 3}, "23b75b221f33"),
    ("random", {"saving": 0.3}, "31df38b6525e"),
    ("shortened", {"saving": 0.3}, "f96d0be34a72"),
    ("at_once", {"saving": 0.3}, "91dfe3749239"),
    ("composer", {"freeze_start": 0.25}, "087fcea04191"),
    ("svcca", {}, "74005b8b5c2c"),
    ("spfde", {"saving": 0.3}, "25de1c1635c4"),
    ("gradual_unfreezing", {}, "64775f6e1357"),
    ("pipetransformer", {"alpha": 0.25, "rule": "code"}, "6a9583b1b6b0"),
    ("auto_rgn", {"cut": 0.3}, "284a9cba6d91"),
    ("greentrainer", {"rho": 0.7}, "1ce582cc2b4b"),
    ("egeria", {"window": 3}, "01226f2cbdd6"),
    ("simfreeze", {"interval": 5}, "51b4af605bdc"),
    ("lisa", {"n": 3}, "edf51c4aca17"),
    ("badam", {"K": 60}, "07880a6555bc"),
    ("slimfit", {"share": 0.5}, "5272bacc0987"),
    ("apf", {"interval": 5}, "4fa0c18c6bb8"),
    ("record", {}, "2c78902c3721"),
]

# One field of each option type, and the fields that ids ignore or treat specially.
CHANGES: list[tuple[dict[str, Any], str]] = [
    ({"epochs": 3}, "69a7d53fd8d6"),
    ({"lr": 0.02}, "636263343bf5"),
    ({"optimizer": "adamw"}, "5fc91ebfc419"),
    ({"channels_last": True}, "7c89efd1988d"),
    ({"weights": "run:0123456789ab"}, "17983b04be16"),
    ({"strategy": "random", "match": ("0123456789ab", "ba9876543210")}, "af593297f230"),
    ({"cache_prefix": True, "augment": "none"}, "b480e1f43304"),
    ({"keep_model": True, "data_workers": 3}, "83e70f965e13"),
]


def id_of(**values: Any) -> str:
    """Return the id of a run, resolved as in a sweep of the laptop profile."""
    return resolve_inputs(Spec(**{"model": VGG, "data": "digits10", **values}), "laptop").id


def test_every_built_in_data_set_has_a_pinned_id() -> None:
    own = {"folder:PATH", "texts:PATH", "datasets:NAME"}  # the ids depend on the files
    assert {*DATA_SETS, *own} == {data_set.name for data_set in list_data_sets()}


@pytest.mark.parametrize("name", DATA_SETS)
def test_the_run_id_for_each_data_set_is_unchanged(name: str) -> None:
    model, pinned = DATA_SETS[name]
    assert id_of(model=model, data=name) == pinned


@pytest.mark.parametrize(("strategy", "options", "pinned"), STRATEGIES, ids=lambda v: str(v))
def test_the_run_id_for_each_strategy_is_unchanged(
    strategy: str, options: dict[str, Any], pinned: str
) -> None:
    reference = "run:0123456789ab" if strategy in ("cka_oracle", "record") else ""
    assert id_of(strategy=strategy, options=options, reference=reference) == pinned


@pytest.mark.parametrize(("changes", "pinned"), CHANGES, ids=lambda v: str(v))
def test_the_run_id_with_changed_fields_is_unchanged(changes: dict[str, Any], pinned: str) -> None:
    assert id_of(**changes) == pinned


@pytest.mark.parametrize("name", LAYERS)
def test_the_layers_behind_an_id_are_unchanged(name: str) -> None:
    """Compare layers, because other layers give other results.

    If the layers change, add an entry to bench.revisions.REVISIONS too.
    """
    layers, _ = analyze_model(name, 10, SIZES.get(name, 24))
    text = json.dumps([(layer.name, layer.parameters, layer.block) for layer in layers])
    assert hashlib.sha256(text.encode()).hexdigest()[:12] == LAYERS[name]
