"""Tests of numpy and torch numbers in return values: they act, and are recorded, like Python's."""

from __future__ import annotations

import io
from collections import Counter, OrderedDict, namedtuple
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch

from bench.errors import UserError
from bench.strategy_api.cadence import AtSteps, Cadence, EverySteps
from bench.strategy_api.output_checks import (
    check_plain,
    read_cadence,
    read_cost,
    read_decision_list,
    read_rates,
)
from bench.strategy_api.strategy import Decision, Strategy
from bench.strategy_api.view import View
from tests.support.tiny_loop import TinyLoop

Pair = namedtuple("Pair", "first second")


class Listed(list):  # type: ignore[type-arg]  # as users write it
    pass


class Flagged(torch.Tensor):
    pass


class Alternating(Strategy):
    """Strategy that freezes layers 0 and 1 after odd steps, and thaws them after even steps."""

    make: Callable[[Any], Any]

    def stages(self) -> Cadence:
        return EverySteps(1)

    def decide(self, view: View) -> Sequence[Decision]:
        freeze = view.step % 2 == 1
        return [Decision(type(self).make(i), freeze, torch.tensor(0.5)) for i in (0, 1)]  # type: ignore[arg-type]


@pytest.mark.parametrize("make", [int, torch.tensor, np.array, np.int64])
def test_layers_thaw_whatever_the_type_of_their_index(make: Callable[[Any], Any]) -> None:
    loop = TinyLoop(type("Each", (Alternating,), {"make": staticmethod(make)})())
    frozen = []
    for step in range(4):
        loop.take_step(step)
        frozen.append(loop.freezing.frozen)
    assert frozen == [{0, 1}, set(), {0, 1}, set()]
    assert [line["freeze"] for line in loop.freezing.decisions] == 2 * [True, True, False, False]
    assert {type(i) for i in frozen[0]} == {int}


def test_decisions_are_returned_as_values_of_python() -> None:
    given = [
        Decision(torch.tensor(1), np.bool_(True), np.float32(0.5), torch.tensor(2.0)),  # type: ignore[arg-type]
        Decision(np.array(0), torch.tensor(False)),  # type: ignore[arg-type]
    ]
    for answer in (given, tuple(given), (each for each in given), np.array(given, dtype=object)):
        first, second = read_decision_list("mine", answer, layers=3)
        assert first == Decision(1, True, 0.5, 2.0)
        assert (second.layer, second.freeze) == (0, False)
        for each in (first, second):
            types = [type(value) for value in vars(each).values()]
            assert types == [int, bool, float, float]


@pytest.mark.parametrize("layer", [True, torch.tensor(True), np.bool_(True), 1.0, "1"])
def test_a_layer_must_be_a_whole_number(layer: Any) -> None:
    with pytest.raises(UserError, match=r"decide\(\) returned Decision\(layer=.*layers 0 to 2"):
        read_decision_list("mine", [Decision(layer, True)], layers=3)


@pytest.mark.parametrize(
    "steps",
    [3, "3", {2.5}, {"3"}, {-1}, None, {torch.tensor(3)}, (s for s in (1, 2)), [[1, 2]], {np.nan}],
)
def test_at_steps_must_have_steps_that_can_be_due(steps: Any) -> None:
    with pytest.raises(UserError, match=r"^strategy mine: stages\(\) returned AtSteps.*AtSteps\(f"):
        read_cadence("mine", "stages", AtSteps(steps))


@pytest.mark.parametrize(
    "steps", [frozenset(), {0, 3}, [3], (3,), range(2, 9), {np.int64(3)}, np.array([3]), {3.0}]
)
def test_other_sets_of_steps_stay_valid(steps: Any) -> None:
    cadence = read_cadence("mine", "stages", AtSteps(steps))
    assert bool(cadence.due(3, 10)) == (3 in list(steps))
    assert not cadence.due(1, 10)


@pytest.mark.parametrize("make", [torch.tensor, np.array, tuple, iter])
def test_learning_rates_may_have_any_type_of_sequence(make: Callable[[Any], Any]) -> None:
    rates = read_rates("mine", make([0.5, 0.25, 0.0]), 3)
    assert rates == [0.5, 0.25, 0.0]
    assert {type(rate) for rate in rates} == {float}


@pytest.mark.parametrize(
    "answer",
    [torch.ones(2), torch.ones(3, 2), np.ones((3, 2)), torch.ones(3) * 1j, [10**400] * 3,
     torch.tensor(0.5), np.array(0.5), 0.5, None],
)  # fmt: skip
def test_other_learning_rates_are_refused_in_one_line(answer: Any) -> None:
    with pytest.raises(
        UserError, match=r"learning_rates\(\) returned .*; .*3 finite numbers"
    ) as error:
        read_rates("mine", answer, 3)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 500


@pytest.mark.parametrize("cost", [10**400, torch.ones(2), torch.tensor(1j), "much"])
def test_a_cost_must_be_a_finite_number(cost: Any) -> None:
    with pytest.raises(UserError, match=r"cost\(\) returned .*FLOPs"):
        read_cost("mine", cost)
    assert read_cost("mine", torch.tensor(2.5)) == 2.5


@pytest.mark.parametrize(
    ("value", "readable"),
    [
        ([1, (2, {3}), torch.Size([4])], True),
        (OrderedDict(a=Counter("b")), True),
        (torch.nn.Parameter(torch.ones(1)), True),
        (torch.nn.Buffer(torch.ones(1)), True),
        (Pair(1, 2), False),
        (Listed([1]), False),
        (frozenset({1}), False),
        (torch.ones(1).as_subclass(Flagged), False),
    ],
)
def test_a_state_is_accepted_only_if_a_checkpoint_with_it_can_be_read(
    value: Any, readable: bool
) -> None:
    file = io.BytesIO()
    torch.save(value, file)
    file.seek(0)
    if readable:
        check_plain({"x": value}, "state")
        torch.load(file, weights_only=True)
        return
    with pytest.raises(UserError, match=r"^state\['x'\] has the type .*, which a checkpoint"):
        check_plain({"x": value}, "state")
    with pytest.raises(Exception, match="Weights only load failed"):
        torch.load(file, weights_only=True)
