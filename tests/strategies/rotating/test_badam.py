"""BAdam's decisions equal those of its rule, restated here."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.errors import UserError
from bench.training.freezing_stage import run_stage
from bench.training.run_state import RunState
from bench.training.training_step import take_step
from strategies.rotating.badam import BAdam
from tests.support.hand_view import HandView
from tests.support.tiny_runs import make_tiny_spec


def run(strategy: BAdam, view: HandView) -> dict[int, set[int]]:
    """Return the layers that train after each switch, by step, without the head."""
    strategy.start(view)
    trains = {}
    for step in range(view.total_steps):
        if strategy.stages().due(step, view.steps_per_epoch):
            trains[step] = {v.layer for v in strategy.decide(view) if not v.freeze}
    return trains


@settings(max_examples=200, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 4), min_size=1, max_size=20),
    every=st.integers(0, 25),
    steps=st.integers(1, 400),
    per_epoch=st.integers(1, 2000),
    seed=st.integers(0, 2**32 - 1),
)
def test_decisions_equal_the_rule(
    sizes: list[int], every: int, steps: int, per_epoch: int, seed: int
) -> None:
    blocks = [block for block, size in enumerate(sizes) for _ in range(size)]
    view = HandView(
        [1] * (len(blocks) + 1),
        blocks=[*blocks, len(sizes)],
        total_steps=steps,
        steps_per_epoch=per_epoch,
        seed=seed,
    )
    interval = every or min(max(per_epoch // len(sizes), 50), 100)
    generator, order, expected = view.generator("badam"), [], {}
    for step in range(0, steps, interval):
        order = order or torch.randperm(len(sizes), generator=generator).tolist()
        current = order.pop(0)
        expected[step] = {layer for layer, block in enumerate(blocks) if block == current}
    assert run(BAdam(K=every), view) == expected


def test_a_switch_clears_the_optimizer_state_of_the_last_block(tmp_path) -> None:
    run_state = RunState(make_tiny_spec("badam", options={"K": 1}, optimizer="adamw"), tmp_path)
    run_state.strategy.start(run_state.view)
    run_state.model.train()
    run_state.accounting.enter_state(0, frozenset())
    for _ in range(4):
        run_stage(run_state)
        take_step(run_state)
        stateful = {
            layer.index
            for layer in run_state.layers
            if any(
                run_state.model.get_parameter(p) in run_state.optimizer.state
                for p in layer.parameters
            )
        }
        assert stateful == set(range(len(run_state.layers))) - run_state.view.frozen
        assert len(stateful) == 2  # one block and the head


def test_options_out_of_range_are_refused() -> None:
    with pytest.raises(UserError, match="K = -1 is not valid"):
        BAdam(K=-1)
