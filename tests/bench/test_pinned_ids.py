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
    "digits10": (VGG, "7db65436e393"),
    "digits100": (VGG, "e9d933da88bd"),
    "glyphs": (VGG, "396c82e2b626"),
    "glyphs:mixed": (VGG, "993c7bffd48e"),
    "glyphs:upper": (VGG, "d9c1401f60b1"),
    "glyphs:lower": (VGG, "dfbe399f0725"),
    "glyphs:few": (VGG, "d2f57ac76306"),
    "glyphs:noisy": (VGG, "78c0dda44af7"),
    "glyphs:tilted": (VGG, "5e23f10bf6ae"),
    "glyphs:barred": (VGG, "0f7d64107971"),
    "glyphs:serif": (VGG, "62ea4a52b737"),
    "glyphs:mono": (VGG, "cb0fcc439624"),
    "glyphs:pairs": (VGG, "46ba6ab91d79"),
    "glyphs:lowerpairs": (VGG, "af3f5698b140"),
    "cifar10": (VGG, "f877d40b1749"),
    "cifar100": (VGG, "143d2e45e8ed"),
    "imagenet": (VGG, "5fc9a2e4a3bd"),
    "grammar": ("laptop_bert_mlm", "115ccef886eb"),
    "grammar:acceptability": (BERT, "b50cc876b4d5"),
    "grammar:paraphrase": (BERT, "41762c05f58e"),
    "mrpc": (BERT, "8459218189b1"),
    "cola": (BERT, "e30a53b1d3e7"),
}

STRATEGIES: list[tuple[str, dict[str, Any], str]] = [
    ("full", {}, "7db65436e393"),
    ("linear", {"t0": 0.2, "spacing": "cubic"}, "3f81a79cc3ef"),
    ("autofreeze", {"M": 3, "N": 90}, "224d529a6a57"),
    ("cka_oracle", {"epsilon": 0.5, "k": 2}, "465ec0d2b7b8"),
    ("smartfrz", {"stages_per_epoch": 3, "warmup": 0.0, "threshold": 0.2}, "ad66a22c1382"),
    ("probe", {}, "6df2b2708c55"),
    ("prefix", {"k": 3}, "4b819ae68074"),
    ("random", {"saving": 0.3}, "d1bbe09a0e2a"),
    ("shortened", {"saving": 0.3}, "30dd81f82bda"),
    ("at_once", {"saving": 0.3}, "8c0b5e1ff189"),
    ("composer", {"freeze_start": 0.25}, "d7788094c110"),
    ("svcca", {}, "331632f3714a"),
    ("spfde", {"saving": 0.3}, "5ca06fc9db72"),
    ("gradual_unfreezing", {}, "8fd937406bf6"),
    ("pipetransformer", {"alpha": 0.25, "rule": "code"}, "8860aaa38746"),
    ("auto_rgn", {"cut": 0.3}, "89a821bb9520"),
    ("greentrainer", {"rho": 0.7}, "09ddb41e1f13"),
    ("egeria", {"window": 3}, "d68fc685dc1a"),
    ("simfreeze", {"interval": 5}, "4df10d154ac4"),
    ("lisa", {"n": 3}, "930f60156bd8"),
    ("badam", {"K": 60}, "de7716a04e8d"),
    ("slimfit", {"share": 0.5}, "02c6e7dc682f"),
    ("apf", {"interval": 5}, "f3e8ec79540d"),
    ("record", {}, "5a846e1da4ee"),
]

# One field of each option type, and the fields that ids ignore or treat specially.
CHANGES: list[tuple[dict[str, Any], str]] = [
    ({"epochs": 3}, "75daacffcaa6"),
    ({"lr": 0.02}, "d44fd57c7392"),
    ({"optimizer": "adamw"}, "3cef9920a555"),
    ({"channels_last": True}, "c040628d4de3"),
    ({"weights": "run:0123456789ab"}, "775e0f4e70cc"),
    ({"strategy": "random", "match": ("0123456789ab", "ba9876543210")}, "d5e0a9b91a12"),
    ({"cache_prefix": True, "augment": "none"}, "eee20279ba92"),
    ({"keep_model": True, "data_workers": 3}, "7db65436e393"),
]


def id_of(**values: Any) -> str:
    """Return the id of a run, resolved as in a sweep of the laptop profile."""
    return resolve(Spec(**{"model": VGG, "data": "digits10", **values}), "laptop").id


def test_every_built_in_data_set_has_a_pinned_id() -> None:
    assert {*DATA_SETS, "folder:PATH"} == {data_set.name for data_set in list_data_sets()}


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
