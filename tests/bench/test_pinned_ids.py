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
    "digits10": (VGG, "ba2429b770c3"),
    "digits100": (VGG, "7f90c7cbb4d7"),
    "glyphs": (VGG, "6c344c96527a"),
    "glyphs:mixed": (VGG, "4d7157375e86"),
    "glyphs:upper": (VGG, "571c54a9c361"),
    "glyphs:lower": (VGG, "f30aa7bf0b3c"),
    "glyphs:few": (VGG, "8012b16f1684"),
    "glyphs:noisy": (VGG, "a5c974765220"),
    "glyphs:tilted": (VGG, "cc38a149fbad"),
    "glyphs:barred": (VGG, "582b194e35bf"),
    "glyphs:serif": (VGG, "9887059ff1e9"),
    "glyphs:mono": (VGG, "6360fd28192c"),
    "glyphs:pairs": (VGG, "aec0e19d1d3f"),
    "glyphs:lowerpairs": (VGG, "3c8b5ee9179f"),
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
    ("full", {}, "ba2429b770c3"),
    ("linear", {"t0": 0.2, "spacing": "cubic"}, "5f3fd69373b9"),
    ("autofreeze", {"M": 3, "N": 90}, "1de1540fda8b"),
    ("cka_oracle", {"epsilon": 0.5, "k": 2}, "fd96c848ae1f"),
    ("smartfrz", {"stages_per_epoch": 3, "warmup": 0.0, "threshold": 0.2}, "795643416d1d"),
    ("probe", {}, "85c8d9881ee3"),
    ("prefix", {"k": 3}, "ee6ffa817f42"),
    ("random", {"saving": 0.3}, "00d6160b6365"),
    ("shortened", {"saving": 0.3}, "59735651af5a"),
    ("at_once", {"saving": 0.3}, "2a2b9b913bf6"),
    ("composer", {"freeze_start": 0.25}, "640e7a18efac"),
    ("svcca", {}, "9f5c6d0527b7"),
    ("spfde", {"saving": 0.3}, "487838ec7b7b"),
    ("gradual_unfreezing", {}, "42f289bc207f"),
    ("pipetransformer", {"alpha": 0.25, "rule": "code"}, "9cbc140ac524"),
    ("auto_rgn", {"cut": 0.3}, "d474df1620f0"),
    ("greentrainer", {"rho": 0.7}, "9ecfb48893b7"),
    ("egeria", {"window": 3}, "30fcd6fec42d"),
    ("simfreeze", {"interval": 5}, "d881c6b94646"),
    ("lisa", {"n": 3}, "b81196fc6b9b"),
    ("badam", {"K": 60}, "d79a8c5231c7"),
    ("slimfit", {"share": 0.5}, "a9b7ae17d4bc"),
    ("apf", {"interval": 5}, "d5ee018b8915"),
    ("record", {}, "c5062db29cf6"),
]

# One field of each option type, and the fields that ids ignore or treat specially.
CHANGES: list[tuple[dict[str, Any], str]] = [
    ({"epochs": 3}, "08e491f05475"),
    ({"lr": 0.02}, "4e6446338f2a"),
    ({"optimizer": "adamw"}, "3fcf359bd006"),
    ({"channels_last": True}, "1376787bc58e"),
    ({"weights": "run:0123456789ab"}, "5a32febf9391"),
    ({"strategy": "random", "match": ("0123456789ab", "ba9876543210")}, "bd1b5749626b"),
    ({"cache_prefix": True, "augment": "none"}, "f7c764b8a288"),
    ({"keep_model": True, "data_workers": 3}, "ba2429b770c3"),
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
