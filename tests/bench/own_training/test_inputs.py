"""Tests of inputs of a user's model: a tensor, several tensors, or a dict as in transformers."""

from __future__ import annotations

import copy
from types import MethodType
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.api import Freezing
from bench.own_training.inputs import bind_example
from bench.strategy_api.registry import load_strategy_class
from tests.support.small_models import CLASSES, WORDS


class TwoInputs(nn.Module):
    """Network with two inputs, of which the second may be missing."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(3, 4), nn.Linear(2, 4)
        self.head = nn.Linear(4, 2)

    def forward(self, left: Tensor, right: Tensor | None = None) -> Any:
        hidden = self.left(left)
        return self.head(hidden if right is None else hidden + self.right(right))


LEFT, RIGHT = torch.randn(4, 3), torch.randn(4, 2)
EXAMPLES = {
    "tuple": (LEFT, RIGHT),
    "dict": {"left": LEFT, "right": RIGHT},
    "other order": {"right": RIGHT, "left": LEFT, "labels": torch.zeros(4)},
}


@pytest.mark.parametrize("kind", EXAMPLES)
def test_inputs_reach_the_model_by_position_or_name(kind: str) -> None:
    model = TwoInputs()
    net, inputs = bind_example(model, EXAMPLES[kind])
    assert torch.equal(net(*inputs), model(LEFT, RIGHT))
    copied = copy.deepcopy(net)
    assert torch.equal(copied(*inputs), model(LEFT, RIGHT))
    with torch.no_grad():  # the copy has its own weights, and `net` has those of the model
        for parameter in model.parameters():
            parameter.zero_()
    assert not net(*inputs).any()
    assert copied(*inputs).any()


def test_the_layers_do_not_depend_on_the_form_of_the_inputs() -> None:
    names = [
        [group["name"] for group in Freezing.parameter_groups(TwoInputs(), example)]
        for example in EXAMPLES.values()
    ]
    assert names[0] == names[1] == names[2] == ["left", "right", "head"]


class Helped(nn.Module):
    """Network with a BatchNorm and a classifier that runs only in train mode."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.norm, self.head = nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)
        self.helper = nn.Sequential(nn.Linear(4, 4), nn.Dropout(), nn.Linear(4, 2))

    def forward(self, x: Tensor) -> Any:
        x = self.norm(self.body(x))
        return (self.head(x), self.helper(x)) if self.training else self.head(x)


def test_a_classifier_that_runs_only_in_training_never_freezes_and_is_named() -> None:
    model = Helped()
    optimizer, sizes = torch.optim.SGD(model.parameters()), {"total_steps": 2, "steps_per_epoch": 2}
    state, drawn = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    with pytest.warns(UserWarning, match=r"^Freezing: helper of Helped runs only in train mode;"):
        freezing = Freezing(model, optimizer, "probe", example=LEFT, **sizes)
    assert torch.equal(torch.get_rng_state(), drawn)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert freezing.frozen == {0}
    assert all(p.requires_grad for p in model.helper.parameters())


def test_a_forward_that_accelerate_replaced_is_not_copied() -> None:
    """Set `forward` on the instance, as accelerate does. A copy would call the original's."""
    model = TwoInputs()
    original = model.forward
    model.forward = MethodType(lambda self, *values: original(*values), model)
    assert len(Freezing.parameter_groups(model, (LEFT, RIGHT))) == 3


def build_bert() -> nn.Module:
    from transformers import BertConfig, BertForSequenceClassification

    shape = {"hidden_size": 12, "intermediate_size": 24, "max_position_embeddings": 32}
    heads = {"num_hidden_layers": 2, "num_attention_heads": 3}
    config = BertConfig(vocab_size=WORDS, num_labels=CLASSES, **shape, **heads)
    model: nn.Module = BertForSequenceClassification(config)
    return model


def test_a_model_of_transformers_trains_with_its_own_batches() -> None:
    torch.manual_seed(0)
    model = build_bert().train()
    ids = torch.randint(1, WORDS, (4, 7))
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    labels = torch.arange(4) % CLASSES
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    strategy = load_strategy_class("lisa")(n=1, K=1)
    freezing = Freezing(
        model, optimizer, strategy, example={**batch, "labels": labels},
        total_steps=4, steps_per_epoch=2,
    )  # fmt: skip
    for _ in range(4):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(**batch).logits, labels)
        loss.backward()
        optimizer.step()
        freezing.step(loss)
    report = freezing.report()
    frozen = {layer.name for layer in report.layers if layer.frozen_steps}
    assert any("layer.0" in name for name in frozen)
    assert 0 < report.saved("exact") < 0.5


def test_full_training_of_an_attention_model_saves_nothing_in_any_convention() -> None:
    ids = torch.randint(1, WORDS, (4, 7))
    model = build_bert()
    freezing = Freezing(
        model, torch.optim.SGD(model.parameters()), "full", example={"input_ids": ids},
        total_steps=4, steps_per_epoch=2,
    )  # fmt: skip
    freezing.step()
    report = freezing.report()
    assert report.spent.keys() == report.full.keys() == {"paper", "exact"}
    assert [report.saved(convention) for convention in report.spent] == [0, 0]
