"""Run specs: which fields change the id, and validation of values."""

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import UserError
from bench.spec import FIELDS, Spec

PLAIN = Spec(model="vgg11", data="digits10")


def test_id_is_stable_across_processes_and_releases() -> None:
    """Compare with a pinned id, by which finished runs are found.

    Change this id only by an increase of RESULTS_VERSION.
    """
    assert PLAIN.id == Spec.from_dict(json.loads(json.dumps(PLAIN.to_dict()))).id
    assert PLAIN.id == "71ba888b9dc9"


def test_a_revision_changes_the_ids_of_its_runs_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shortened = PLAIN.with_changes(strategy="shortened", options={"saving": 0.3})
    ids = [shortened.id, PLAIN.id]
    monkeypatch.setattr("bench.spec.REVISIONS", {"another": lambda s: s.strategy == "shortened"})
    assert PLAIN.with_changes(seed=0).id == ids[1]
    assert shortened.with_changes(seed=0).id != ids[0]


def test_only_runs_of_three_processes_or_more_have_the_revision_of_their_gradients() -> None:
    """Expect the revision only where the order of a sum of more than two gradients has changed.

    The rounding has changed with the order.
    """
    with_replicas = [PLAIN.with_changes(replicas=count) for count in (1, 2, 4)]
    revisions = [spec._collect_identity().get("revisions") for spec in with_replicas]
    assert revisions == [None, None, ["gradients by DistributedDataParallel"]]
    assert with_replicas[2].with_changes(nodes=2).id == with_replicas[2].id


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"strategy": "greentrainer"}, ["greentrainer keeps the optimizer state of frozen layers"]),
        ({"strategy": "slimfit"}, ["a step that does not move a layer says nothing about it"]),
        (
            {"strategy": "slimfit", "model": "lora:laptop_llama"},
            [
                "layers of zeros count as moving",
                "a step that does not move a layer says nothing about it",
            ],
        ),
    ],
)
def test_only_the_runs_that_a_fault_touched_have_its_revision(
    change: dict[str, Any], expected: list[str]
) -> None:
    assert PLAIN.with_changes(**change)._collect_identity().get("revisions", []) == expected


def test_only_probes_of_texts_have_the_revision_of_their_flops() -> None:
    """Expect the revision for texts only.

    Probes of images have the size of the training batches.
    """
    name = "the FLOPs of a probe of texts are those of its own length"
    for data, strategy, expected in (
        ("mrpc", "cka_oracle", True),
        ("grammar:paraphrase", "egeria", True),
        ("texts:reviews.csv", "simfreeze", True),
        ("mrpc", "smartfrz", False),
        ("digits10", "cka_oracle", False),
    ):
        identity = PLAIN.with_changes(data=data, strategy=strategy)._collect_identity()
        assert (name in identity.get("revisions", [])) == expected


@pytest.mark.parametrize(
    "change",
    [
        {"model": "resnet50"},
        {"data": "symbols100"},
        {"strategy": "linear"},
        {"seed": 1},
        {"epochs": 11},
        {"batch_size": 16},
        {"lr": 0.5},
        {"warmup": 0.5},
        {"momentum": 0.5},
        {"nesterov": True},
        {"frozen_dropout": True},
        {"weight_decay": 0.5},
        {"optimizer": "adamw"},
        {"resolution": 32},
        {"augment": "none"},
        {"augment": "randaugment"},
        {"label_smoothing": 0.1},
        {"normalisation": "half"},
        {"weights": "pretrained"},
        {"weights_may_lack": "layer4"},
        {"reference": "run:abc"},
        {"evaluate_on": "validation"},
        {"score_epochs": True},
        {"score_epochs": True, "score_samples": 100},
        {"train_limit": 5},
        {"device": "cuda"},
        {"precision": "bfloat16"},
        {"channels_last": True},
        {"threads": 2},
        {"replicas": 2},
        {"options": {"t0": 0.3}},
        {"match": ("abc",)},
        {"contents": {"data": "123"}},
    ],
)
def test_fields_that_change_the_result_change_the_id(change: dict) -> None:
    assert PLAIN.with_changes(**change).id != PLAIN.id


def test_every_spec_field_is_declared_or_listed_here() -> None:
    """Fail for a new field until it is declared in FIELDS or added to this list on purpose."""
    assert {f.name for f in dataclasses.fields(Spec)} - set(FIELDS) == {
        "options",
        "match",
        "contents",
        "paths",
        "keep_model",
    }


def test_file_paths_and_data_workers_do_not_change_the_id() -> None:
    assert PLAIN.with_changes(paths={"data": "/elsewhere"}, keep_model=True).id == PLAIN.id
    assert PLAIN.with_changes(data_workers=8).id == PLAIN.id


def test_the_contents_of_an_external_strategy_change_the_id_but_its_path_does_not() -> None:
    one = PLAIN.with_changes(strategy="a/mine.py:Mine", contents={"strategy": "1"})
    two = PLAIN.with_changes(strategy="b/mine.py:Mine", contents={"strategy": "1"})
    assert one.id == two.id
    assert one.id != two.with_changes(contents={"strategy": "2"}).id


@given(st.integers(0, 1000), st.integers(0, 1000))
def test_runs_that_differ_in_seed_only_share_a_cell(one: int, other: int) -> None:
    first, second = PLAIN.with_changes(seed=one), PLAIN.with_changes(seed=other)
    assert first.cell == second.cell
    assert (first.id == second.id) == (one == other)


@given(st.permutations(["lr", "epochs", "seed", "batch_size"]))
def test_the_order_of_keys_does_not_change_the_id(order: list[str]) -> None:
    values = {"lr": 0.1, "epochs": 3, "seed": 2, "batch_size": 8}
    made = Spec.from_dict({"model": "m", "data": "d", **{k: values[k] for k in order}})
    assert made.id == Spec(model="m", data="d", **values).id


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"model": "m", "data": "d", "learning_rate": 1}, ["learning_rate", "lr"]),
        ({"model": "m", "data": "d", "epochs": 0}, ["epochs", "0", "from 1"]),
        ({"model": "m", "data": "d", "epochs": 1.5}, ["epochs", "1.5"]),
        ({"model": "m", "data": "d", "lr": "fast"}, ["lr", "fast", "number"]),
        ({"model": "m", "data": "d", "lr": float("nan")}, ["lr", "nan"]),
        ({"model": "m", "data": "d", "optimizer": "lion"}, ["lion", "sgd, adamw"]),
        ({"model": "m", "data": "d", "seed": True}, ["seed", "True"]),
        ({"data": "d"}, ["model must be given", "--model NAME", "TOML"]),
        ({"model": "m", "data": "d", "weights": "run:"}, ["weights = 'run:'", "give run:ID"]),
        ({"model": "m", "data": "d", "reference": "run:"}, ["reference = 'run:'", "give run:ID"]),
        ({"model": "", "data": "d"}, ["model", "missing"]),
    ],
)
def test_errors_for_bad_values_name_the_key_the_value_and_the_valid_values(
    values: dict, words: list
) -> None:
    with pytest.raises(UserError) as caught:
        Spec.from_dict(values)
    assert all(word in str(caught.value) for word in words)
    assert "\n" not in str(caught.value)


def test_a_spec_is_immutable() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        PLAIN.lr = 3  # type: ignore[misc]  # mypy rejects it too
    with pytest.raises(TypeError):
        PLAIN.options["t0"] = 3  # type: ignore[index]  # mypy rejects it too


@pytest.mark.parametrize("change", [{"optimizer": "adamw"}, {"momentum": 0.0}])
def test_nesterov_needs_sgd_with_momentum(change: dict[str, Any]) -> None:
    assert PLAIN.with_changes(nesterov=True).nesterov
    with pytest.raises(UserError, match="nesterov needs optimizer = 'sgd' and momentum above 0"):
        PLAIN.with_changes(nesterov=True, **change)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"optimizer": "adamw", "momentum": 0.5}, "momentum = 0.5 has no effect with optimizer"),
        ({"precision": "tf32"}, "precision = 'tf32' needs device = 'cuda', not 'cpu'"),
        ({"cache_host_mib": 1}, "cache_host_mib = 1 has no effect without cache_prefix"),
    ],
)
def test_a_field_without_effect_is_an_error(change: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        PLAIN.with_changes(**change)
