"""Composer's decisions equal those of its rule, restated here. Their counts equal manual ones."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.errors import UserError
from strategies.schedules.composer import Composer
from tests.support.hand_view import HandView


def run(strategy: Composer, view: HandView) -> dict[int, set[int]]:
    """Return the frozen layers after each freezing stage, by step."""
    strategy.start(view)
    frozen = {}
    for step in range(view.total_steps + 1):
        view.step = step
        if strategy.stages().due(view.step, view.steps_per_epoch):
            view.frozen |= {v.layer for v in strategy.decide(view) if v.freeze}
            frozen[view.step] = set(view.frozen)
    return frozen


def test_the_prefix_grows_linearly_in_the_second_half() -> None:
    # 8 layers without the head. After epochs 5 to 8 of 8: 1/4, 2/4, 3/4 and 4/4 of them.
    view = HandView([1] * 9, total_steps=80, steps_per_epoch=10)
    counts = {step: len(frozen) for step, frozen in run(Composer(), view).items()}
    assert counts == {10: 0, 20: 0, 30: 0, 40: 0, 50: 2, 60: 4, 70: 6, 80: 8}
    view = HandView([1] * 9, total_steps=80, steps_per_epoch=10)
    counts = {s: len(f) for s, f in run(Composer(freeze_start=0, freeze_level=0.5), view).items()}
    assert counts == {10: 0, 20: 1, 30: 1, 40: 2, 50: 2, 60: 3, 70: 3, 80: 4}


@settings(max_examples=200)
@given(
    layers=st.integers(1, 40),
    epochs=st.integers(1, 12),
    per_epoch=st.integers(1, 9),
    start=st.floats(0, 1),
    level=st.floats(0, 1),
)
def test_decisions_equal_the_rule(
    layers: int, epochs: int, per_epoch: int, start: float, level: float
) -> None:
    view = HandView([1] * layers, total_steps=epochs * per_epoch, steps_per_epoch=per_epoch)
    expected = {}
    for epoch in range(1, epochs + 1):
        elapsed = epoch * per_epoch / (epochs * per_epoch)
        depth = 0
        if elapsed > start:
            depth = int(level * (elapsed - start) / (1.0 - start) * (layers - 1))
        expected[epoch * per_epoch] = set(range(depth))
    assert run(Composer(freeze_start=start, freeze_level=level), view) == expected


def test_options_out_of_range_are_refused() -> None:
    for options in ({"freeze_start": -0.1}, {"freeze_start": 1.1}, {"freeze_level": 1.5}):
        with pytest.raises(UserError, match=r"is not valid; give a number from 0 to 1"):
            Composer(**options)


def test_a_start_at_the_end_never_freezes() -> None:
    view = HandView([1] * 5, total_steps=20)
    assert not any(run(Composer(freeze_start=1.0), view).values())
