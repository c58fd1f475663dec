"""Pinned run ids: finished runs are found by id, so a code change must not change any id.

Only if results change, increase RESULTS_VERSION and update the ids here.
"""

from __future__ import annotations

from typing import Any

import pytest

from bench.data.catalogue import list_data_sets
from bench.planning.run_inputs import resolve
from bench.spec import Spec

VGG, BERT = "laptop_vgg11", "laptop_bert"
DATA_SETS = {
    "digits10": (VGG, "58e9fb08873e"),
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

STRATEGIES: list[tuple[str, dict[str, Any], str]] = [
    ("full", {}, "58e9fb08873e"),
    ("linear", {"t0": 0.2, "spacing": "cubic"}, "e3f4a94f22d4"),
    ("autofreeze", {"M": 3, "N": 90}, "b42cbc6b3baa"),
    ("cka_oracle", {"epsilon": 0.5, "k": 2}, "ee088d0de701"),
    ("smartfrz", {"stages_per_epoch": 3, "warmup": 0.0, "threshold": 0.2}, "64443799b6a6"),
    ("probe", {}, "a10e0431b190"),
    ("prefix", {"k": 3}, "624cb2bc1020"),
    ("random", {"saving": 0.3}, "ad4094a8a6aa"),
    ("shortened", {"saving": 0.3}, "87320c3f1b4e"),
    ("at_once", {"saving": 0.3}, "2b10c7e7d568"),
    ("composer", {"freeze_start": 0.25}, "6e5cbfdd48d9"),
    ("svcca", {}, "3fb476e1023a"),
    ("spfde", {"saving": 0.3}, "b18ba603de94"),
    ("gradual_unfreezing", {}, "2f23e0b066b4"),
    ("pipetransformer", {"alpha": 0.25, "rule": "code"}, "b8b6c21c4f83"),
    ("auto_rgn", {"cut": 0.3}, "2175b966d626"),
    ("greentrainer", {"rho": 0.7}, "38d7008f25d0"),
    ("egeria", {"window": 3}, "9e19c0ee1f8a"),
    ("simfreeze", {"interval": 5}, "892bef1b4994"),
    ("lisa", {"n": 3}, "246753535e57"),
    ("badam", {"K": 60}, "cd447276f23b"),
    ("slimfit", {"share": 0.5}, "7ed6f25d90df"),
    ("apf", {"interval": 5}, "f02b3de64c62"),
    ("record", {}, "dff753b39cb2"),
]

# One field of each option type, and the fields that ids ignore or treat specially.
CHANGES: list[tuple[dict[str, Any], str]] = [
    ({"epochs": 3}, "aea872a6925e"),
    ({"lr": 0.02}, "20fc71d39c49"),
    ({"optimizer": "adamw"}, "ba9f0a993e55"),
    ({"channels_last": True}, "2a79bcf026c4"),
    ({"weights": "run:0123456789ab"}, "dfe185df9c65"),
    ({"strategy": "random", "match": ("0123456789ab", "ba9876543210")}, "9f177fb632b8"),
    ({"cache_prefix": True, "augment": "none"}, "9ce84298717e"),
    ({"keep_model": True, "data_workers": 3}, "58e9fb08873e"),
]


def id_of(**values: Any) -> str:
    """Return the id of a run, resolved as in a sweep of the laptop profile."""
    return resolve(Spec(**{"model": VGG, "data": "digits10", **values}), "laptop").id


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
