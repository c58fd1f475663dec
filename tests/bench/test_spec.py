"""What a run's id depends on, and what it does not."""

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import UserError
from bench.spec import FIELDS, Spec

PLAIN = Spec(model="vgg11", data="digits10")


def test_id_is_stable_across_processes_and_releases() -> None:
    """A change here orphans every finished run: raise RESULTS_VERSION instead."""
    assert PLAIN.id == Spec.from_dict(json.loads(json.dumps(PLAIN.to_dict()))).id
    assert PLAIN.id == "5e97e0793338"


def test_a_change_for_a_few_runs_leaves_the_ids_of_all_others_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shortened = PLAIN.with_changes(strategy="shortened", options={"saving": 0.3})
    ids = [shortened.id, PLAIN.id]
    monkeypatch.setattr("bench.spec.REVISIONS", {"another": lambda s: s.strategy == "shortened"})
    assert PLAIN.with_changes(seed=0).id == ids[1]
    assert shortened.with_changes(seed=0).id != ids[0]


@pytest.mark.parametrize(
    "change",
    [
        {"model": "resnet50"},
        {"data": "digits100"},
        {"strategy": "linear"},
        {"seed": 1},
        {"epochs": 11},
        {"batch_size": 16},
        {"lr": 0.5},
        {"warmup": 0.5},
        {"momentum": 0.5},
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
def test_what_changes_the_result_changes_the_id(change: dict) -> None:
    assert PLAIN.with_changes(**change).id != PLAIN.id


def test_what_is_left_out_of_the_id_is_listed() -> None:
    """A new field must be thought about: it is declared in FIELDS, or it is one of these."""
    assert {f.name for f in dataclasses.fields(Spec)} - set(FIELDS) == {
        "options",
        "match",
        "contents",
        "paths",
        "keep_model",
    }


def test_where_files_lie_does_not_change_the_id() -> None:
    assert PLAIN.with_changes(paths={"data": "/elsewhere"}, keep_model=True).id == PLAIN.id
    assert PLAIN.with_changes(data_workers=8).id == PLAIN.id


def test_an_external_strategys_path_does_not_change_the_id_but_its_contents_do() -> None:
    one = PLAIN.with_changes(strategy="a/mine.py:Mine", contents={"strategy": "1"})
    two = PLAIN.with_changes(strategy="b/mine.py:Mine", contents={"strategy": "1"})
    assert one.id == two.id
    assert one.id != two.with_changes(contents={"strategy": "2"}).id


@given(st.integers(0, 1000), st.integers(0, 1000))
def test_a_cell_is_the_id_without_the_seed(one: int, other: int) -> None:
    first, second = PLAIN.with_changes(seed=one), PLAIN.with_changes(seed=other)
    assert first.cell == second.cell
    assert (first.id == second.id) == (one == other)


@given(st.permutations(["lr", "epochs", "seed", "batch_size"]))
def test_the_order_of_keys_does_not_matter(order: list[str]) -> None:
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
        ({"data": "d"}, ["model"]),
        ({"model": "", "data": "d"}, ["model", "missing"]),
    ],
)
def test_bad_values_name_the_key_the_value_and_the_valid_ones(values: dict, words: list) -> None:
    with pytest.raises(UserError) as caught:
        Spec.from_dict(values)
    assert all(word in str(caught.value) for word in words)
    assert "\n" not in str(caught.value)


def test_a_spec_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        PLAIN.lr = 3  # type: ignore[misc]  # mypy sees it too
    with pytest.raises(TypeError):
        PLAIN.options["t0"] = 3  # type: ignore[index]  # mypy sees it too
