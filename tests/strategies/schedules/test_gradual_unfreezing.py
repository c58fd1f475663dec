"""Decisions of gradual unfreezing equal those of its rule, restated here."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.errors import UserError
from strategies.schedules.gradual_unfreezing import GradualUnfreezing
from tests.support.hand_view import HandView


def train(view: HandView) -> list[set[int]]:
    """Apply all decisions, and return the frozen layers at each training step."""
    strategy = GradualUnfreezing()
    strategy.start(view)
    frozen = []
    for step in range(view.total_steps):
        view.step = step
        if strategy.stages().due(view.step, view.steps_per_epoch):
            for decision in strategy.decide(view):
                if decision.freeze:
                    assert view.step == 0
                    view.frozen |= {decision.layer}
                else:
                    assert decision.layer in view.frozen
                    view.frozen -= {decision.layer}
        frozen.append(set(view.frozen))
    return frozen


def test_one_block_more_trains_in_each_epoch() -> None:
    view = HandView([1] * 6, blocks=[0, 0, 1, 1, 2, 3], total_steps=10, steps_per_epoch=2)
    by_epoch = [{0, 1, 2, 3, 4}, {0, 1, 2, 3}, {0, 1}, set(), set()]
    assert train(view) == [frozen for frozen in by_epoch for _ in range(2)]


@settings(max_examples=200)
@given(
    sizes=st.lists(st.integers(1, 4), max_size=10),
    epochs=st.integers(1, 15),
    per_epoch=st.integers(1, 6),
)
def test_decisions_equal_the_rule(sizes: list[int], epochs: int, per_epoch: int) -> None:
    """Check that the head and the e blocks before it train in epoch e, counted from 0."""
    blocks = [i for i, size in enumerate(sizes) for _ in range(size)] + [len(sizes)]
    view = HandView(
        [1] * len(blocks),
        blocks=blocks,
        total_steps=epochs * per_epoch,
        steps_per_epoch=per_epoch,
    )
    expected = [
        {i for i, block in enumerate(blocks) if block < len(sizes) - step // per_epoch}
        for step in range(epochs * per_epoch)
    ]
    assert train(view) == expected


def test_it_has_no_options() -> None:
    with pytest.raises(UserError, match="'epochs' is unknown"):
        GradualUnfreezing(epochs=3)
