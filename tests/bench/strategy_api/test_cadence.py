"""Cadences are due after exactly the steps that they promise."""

from hypothesis import given
from hypothesis import strategies as st

from bench.strategy_api.cadence import AtSteps, EverySteps, Never, PerEpoch

EPOCHS = 3


@given(st.integers(1, 60), st.integers(1, 50))
def test_per_epoch_is_due_k_times_evenly_and_at_each_epoch_end(k, steps):
    due = [step for step in range(EPOCHS * steps + 1) if PerEpoch(k).due(step, steps)]
    assert 0 not in due
    for epoch in range(EPOCHS):
        first, last = epoch * steps, (epoch + 1) * steps
        within = [step for step in due if first < step <= last]
        assert len(within) == min(k, steps)
        assert within[-1] == last
        gaps = [b - a for a, b in zip([first, *within], within, strict=False)]
        assert max(gaps) - min(gaps) <= 1  # evenly


@given(st.integers(1, 20), st.integers(1, 50))
def test_every_steps_ignores_epochs(n, steps):
    due = [step for step in range(100) if EverySteps(n).due(step, steps)]
    assert due == list(range(n, 100, n))


@given(st.frozensets(st.integers(0, 100)), st.integers(1, 50))
def test_at_steps_and_never(named, steps):
    assert {step for step in range(101) if AtSteps(named).due(step, steps)} == named
    assert not any(Never().due(step, steps) for step in range(101))
