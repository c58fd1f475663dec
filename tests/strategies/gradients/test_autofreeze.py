"""Tests of AutoFreeze's decisions against manually computed values."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from strategies.gradients.autofreeze import AutoFreeze, _compute_percentile
from tests.support.hand_view import HandView


def run_interval(strategy: AutoFreeze, view: HandView, grads: dict[int, list[list[float]]]) -> dict:
    """Run one interval of one step with these gradients and return the decisions by layer."""
    view.grads = grads
    strategy.observe(view)
    decisions = {d.layer: d for d in strategy.decide(view)}
    view.frozen |= {i for i, d in decisions.items() if d.freeze}
    return decisions


def test_leading_layers_freeze_while_their_change_is_below_the_median() -> None:
    view, strategy = HandView([1] * 5), AutoFreeze()
    strategy.start(view)
    first = {0: [[1.0, 1.0]], 1: [[2.0]], 2: [[4.0]], 3: [[8.0]]}
    assert run_interval(strategy, view, first) == {}  # the first interval only provides η(previous)
    # r = |2 − 1.8|/2 = 0.1, 0.3, 0.2, 0.5: the median is 0.25.
    decisions = run_interval(strategy, view, {0: [[0.9, -0.9]], 1: [[1.4]], 2: [[3.2]], 3: [[4.0]]})
    assert [decisions[i].score for i in range(4)] == pytest.approx([0.1, 0.3, 0.2, 0.5])
    assert decisions[0].threshold == pytest.approx(0.25)
    # Layer 2 is below the threshold, but the earlier layer 1 is not.
    assert [decisions[i].freeze for i in range(4)] == [True, False, False, False]
    # Next interval, active layers 1 to 3: r = 0.0, 0.25, 0.5, median 0.25. Only layer 1 freezes.
    decisions = run_interval(strategy, view, {1: [[1.4]], 2: [[2.4]], 3: [[6.0]]})
    assert [decisions[i].freeze for i in (1, 2, 3)] == [True, False, False]
    assert 0 not in decisions


def test_gradients_are_summed_with_sign_over_the_interval() -> None:
    view, strategy = HandView([1, 1, 1]), AutoFreeze(N=100)
    strategy.start(view)
    for gradient in ([3.0], [-1.0]):
        view.grads = {0: [gradient], 1: [[1.0]]}
        strategy.observe(view)
    strategy.decide(view)
    view.grads = {0: [[1.0]], 1: [[4.0]]}
    strategy.observe(view)
    decisions = strategy.decide(view)
    assert [d.score for d in decisions] == pytest.approx([0.5, 1.0])  # 2 → 1 and 2 → 4


@pytest.mark.parametrize(("norm", "expected"), [("l1", 7 + 5), ("l2", (3**2 + 4**2 + 5**2) ** 0.5)])
def test_norm_of_a_layer_covers_all_its_parameters(norm: str, expected: float) -> None:
    view, strategy = HandView([1, 1]), AutoFreeze(norm=norm)
    strategy.start(view)
    view.grads = {0: [[3.0, -4.0], [5.0]]}
    strategy.observe(view)
    strategy.decide(view)
    assert strategy.state_dict()["previous"][0] == pytest.approx(expected)


@given(
    st.lists(
        st.lists(st.tuples(st.integers(1, 5), st.integers(1, 9)), min_size=1, max_size=3),
        min_size=1,
    ),
    st.integers(1, 3),
    st.sampled_from(["l1", "l2"]),
)
def test_norms_equal_those_of_the_summed_gradients(
    shapes: list[list[tuple[int, int]]], steps: int, norm: str
) -> None:
    """Check random sizes, and gradients that are not contiguous in memory."""

    class Transposed(HandView):
        def gradients(self, layer: int) -> list[torch.Tensor]:
            return [torch.tensor(g).t() for g in self.grads[layer]]

    numbers = np.random.default_rng(len(shapes))
    view, strategy = Transposed([1] * (len(shapes) + 1)), AutoFreeze(norm=norm, unit="layer")
    strategy.start(view)
    drawn = [
        {i: [numbers.normal(size=s) for s in own] for i, own in enumerate(shapes)}
        for _ in range(steps)
    ]
    for view.grads in drawn:
        strategy.observe(view)
    strategy.decide(view)
    order = {"l1": 1, "l2": 2}[norm]
    for i, own in enumerate(shapes):
        total = [sum(step[i][j] for step in drawn).ravel() for j in range(len(own))]
        expected = np.linalg.norm(np.concatenate(total), order)
        assert strategy.state_dict()["previous"][i] == pytest.approx(expected, rel=1e-5)


def test_the_layers_of_a_transformer_block_freeze_together() -> None:
    view = HandView([1] * 5, blocks=[0, 0, 1, 1, 2])
    strategy = AutoFreeze(N=100)
    strategy.start(view)
    run_interval(strategy, view, {0: [[1.0]], 1: [[1.0]], 2: [[1.0]], 3: [[1.0]]})
    # Block 0: 2 → 2, r = 0. Block 1: 2 → 4, r = 1, which equals the 100th percentile.
    decisions = run_interval(strategy, view, {0: [[0.5]], 1: [[1.5]], 2: [[2.0]], 3: [[2.0]]})
    assert [decisions[i].freeze for i in range(4)] == [True, True, False, False]
    assert decisions[0].score == decisions[1].score == 0


def test_embeddings_and_pooler_are_in_no_norm_and_freeze_with_their_block() -> None:
    # Layer 0: embedding. Layers 1 to 3: blocks 0 to 2. Layer 4: pooler. Layer 5: head.
    view = HandView([1] * 6, blocks=[0, 0, 1, 2, 2, 3], joined=[0, 4])
    strategy = AutoFreeze()
    strategy.start(view)
    run_interval(strategy, view, {0: [[9.0]], 1: [[1.0]], 2: [[1.0]], 3: [[1.0]], 4: [[9.0]]})
    # r of the blocks: 0.1, 0.5 and 0.2; the median is 0.2. With the embedding, block 0 would have
    # 10 → 1.1, r = 0.89. With the pooler, block 2 would have 10 → 1.2.
    second = {0: [[0.2]], 1: [[0.9]], 2: [[1.5]], 3: [[1.2]], 4: [[0.0]]}
    decisions = run_interval(strategy, view, second)
    assert [decisions[i].score for i in range(5)] == pytest.approx([0.1, 0.1, 0.5, 0.2, 0.2])
    assert decisions[0].threshold == pytest.approx(0.2)
    assert [decisions[i].freeze for i in range(5)] == [True, True, False, False, False]


def test_as_layers_embeddings_and_pooler_are_units() -> None:
    view, strategy = HandView([1] * 3, blocks=[0, 0, 1], joined=[0]), AutoFreeze(unit="layer")
    strategy.start(view)
    run_interval(strategy, view, {0: [[2.0]], 1: [[1.0]]})
    decisions = run_interval(strategy, view, {0: [[1.0]], 1: [[1.0]]})
    assert [decisions[i].score for i in range(2)] == pytest.approx([0.5, 0.0])


@given(
    st.integers(2, 6),
    st.lists(st.lists(st.integers(1, 99), min_size=8, max_size=8), min_size=2, max_size=6),
)
def test_decisions_equal_those_of_the_authors_rule(blocks: int, norms: list[list[int]]) -> None:
    """Compare with the authors' code. Its first active block is the first with r ≥ the median.

    norms: η of an embedding, of the blocks and of the pooler at each interval.
    """
    layers = blocks + 2
    view = HandView(
        [1] * (layers + 1), [0, *range(blocks), blocks - 1, blocks], joined=[0, layers - 1]
    )
    strategy = AutoFreeze()
    strategy.start(view)
    first, previous = 0, None
    for row in norms:
        grads = {i: [[float(row[i])]] for i in range(layers) if i not in view.frozen}
        run_interval(strategy, view, grads)
        now = [row[1 + b] if b >= first else 0 for b in range(blocks)]
        if previous is not None:
            r = {b: abs(previous[b] - now[b]) / previous[b] for b in range(first, blocks)}
            median = np.percentile(list(r.values()), 50)
            first = next(b for b in r if r[b] >= median)
        previous = now
        assert view.frozen == set(range(first + 1 if first else 0))


def test_a_frozen_layer_is_excluded_from_the_percentile() -> None:
    view, strategy = HandView([1] * 4), AutoFreeze()
    strategy.start(view)
    run_interval(strategy, view, {0: [[1.0]], 1: [[1.0]], 2: [[1.0]]})
    view.frozen = frozenset({0})
    decisions = run_interval(strategy, view, {1: [[1.1]], 2: [[1.5]]})
    assert set(decisions) == {1, 2}
    assert decisions[1].threshold == pytest.approx(0.3)


def test_a_restored_state_gives_the_same_decisions() -> None:
    view, strategy = HandView([1] * 4), AutoFreeze()
    strategy.start(view)
    run_interval(strategy, view, {0: [[1.0]], 1: [[1.0]], 2: [[1.0]]})
    view.grads = {0: [[1.2]], 1: [[0.7]], 2: [[1.6]]}
    strategy.observe(view)
    again = AutoFreeze()
    again.start(view)
    again.load_state_dict(strategy.state_dict())
    assert list(again.decide(view)) == list(strategy.decide(view))


@given(
    st.lists(st.floats(0, 1e6), min_size=1, max_size=60), st.floats(0, 100, allow_subnormal=False)
)
def test_percentile_equals_that_of_numpy(values: list[float], percent: float) -> None:
    assert _compute_percentile(values, percent) == pytest.approx(
        np.percentile(values, percent), rel=1e-12
    )
