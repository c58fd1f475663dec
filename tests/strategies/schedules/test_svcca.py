"""Decisions of SVCCA's freeze training equal those of its rule, restated here."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.errors import UserError
from strategies.schedules.svcca import Svcca
from tests.support.hand_view import HandView


def run(view: HandView) -> dict[int, int]:
    """Return the step after which each layer freezes."""
    strategy = Svcca()
    strategy.start(view)
    frozen = {}
    for step in range(view.total_steps + 1):
        view.step = step
        if strategy.stages().due(view.step, view.steps_per_epoch):
            for decision in strategy.decide(view):
                assert decision.freeze
                assert decision.layer not in frozen
                frozen[decision.layer] = view.step
    return frozen


def test_one_layer_freezes_per_interval_and_the_head_never() -> None:
    assert run(HandView([1] * 5, total_steps=100)) == {0: 20, 1: 40, 2: 60, 3: 80}


def test_the_layers_of_a_block_freeze_together() -> None:
    view = HandView([1] * 6, blocks=[0, 0, 1, 1, 1, 2], total_steps=30)
    assert run(view) == {0: 10, 1: 10, 2: 20, 3: 20, 4: 20}


@settings(max_examples=200)
@given(sizes=st.lists(st.integers(1, 4), min_size=0, max_size=15), steps=st.integers(16, 400))
def test_decisions_equal_the_rule(sizes: list[int], steps: int) -> None:
    """Freeze the next block at the step nearest to the end of each interval of steps / L."""
    blocks = [i for i, size in enumerate(sizes) for _ in range(size)] + [len(sizes)]
    count, expected = len(sizes) + 1, {}
    for block in range(count - 1):
        end = (block + 1) * steps
        below = end // count
        over = 2 * (end - below * count) - count  # positive if the nearest step is the next one
        freeze_step = below + (over > 0 or (over == 0 and below % 2 == 1))
        expected |= {i: freeze_step for i, own in enumerate(blocks) if own == block}
    assert run(HandView([1] * len(blocks), blocks=blocks, total_steps=steps)) == expected


def test_it_has_no_options() -> None:
    with pytest.raises(UserError, match="'interval' is unknown"):
        Svcca(interval=3)
