"""PipeTransformer's decisions equal those of its two rules, restated here."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.errors import UserError
from strategies.gradients.pipetransformer import PipeTransformer
from tests.support.hand_view import HandView

ALPHAS = [Fraction(n, 100) for n in (0, 7, 30, 50, 100)] + [Fraction(1, 3)]


def build_view(sizes: list[int], epochs: int) -> HandView:
    """Return a view of blocks with these numbers of layers, and a head."""
    blocks = [i for i, size in enumerate(sizes) for _ in range(size)] + [len(sizes)]
    view = HandView([1] * len(blocks), blocks=blocks, total_steps=epochs * 3, steps_per_epoch=3)
    view.grads = {i: [[1.0 + i]] for i in range(len(blocks))}
    return view


def end_epoch(strategy: PipeTransformer, view: HandView) -> set[int]:
    """Run the freezing stage at the end of an epoch and return the blocks with frozen layers.

    Assert that the layers of a block freeze together.
    """
    view.step += 3
    assert strategy.stages().due(view.step, 3)
    view.frozen |= {d.layer for d in strategy.decide(view) if d.freeze}
    frozen = {view.layers[i].block for i in view.frozen}
    assert view.frozen == {layer.index for layer in view.layers if layer.block in frozen}
    return frozen


def draw_gradients(view: HandView, numbers: np.random.Generator) -> dict[int, list[np.ndarray]]:
    """Return one or two gradients of random scale for every layer."""
    return {
        layer.index: [
            (numbers.normal(size=numbers.integers(1, 9)) * 10.0 ** numbers.uniform(-3, 3)).astype(
                np.float32
            )
            for _ in range(numbers.integers(1, 3))
        ]
        for layer in view.layers
    }


@settings(max_examples=200, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 4), min_size=1, max_size=24),
    alpha=st.sampled_from(ALPHAS),
    epochs=st.integers(1, 8),
    seed=st.integers(0, 2**32 - 1),
)
def test_decisions_equal_the_rule_of_the_paper(
    sizes: list[int], alpha: Fraction, epochs: int, seed: int
) -> None:
    view, numbers, frozen = build_view(sizes, epochs), np.random.default_rng(seed), 0
    strategy = PipeTransformer(alpha=float(alpha))
    strategy.start(view)
    for _ in range(epochs):
        view.grads = draw_gradients(view, numbers)
        norms = [
            np.linalg.norm(
                np.concatenate(
                    [g for i in view.grads if view.layers[i].block == block for g in view.grads[i]]
                ).astype(float)
            )
            for block in range(len(sizes))
        ]
        if frozen < len(sizes):
            smallest = frozen + int(np.argmin(norms[frozen:]))
            frozen = min(math.floor(frozen + alpha * (len(sizes) - frozen)), smallest)
        assert end_epoch(strategy, view) == set(range(frozen))


@settings(max_examples=200, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 4), min_size=1, max_size=24),
    alpha=st.sampled_from(ALPHAS),
    epochs=st.integers(1, 8),
)
def test_decisions_equal_the_rule_of_the_code(
    sizes: list[int], alpha: Fraction, epochs: int
) -> None:
    """Compare with the authors' code, which adds α (L − f) to f in each epoch and rounds up.

    f is the number of frozen blocks, and L is the number of blocks.
    """
    view, frozen = build_view(sizes, epochs), Fraction(0)
    strategy = PipeTransformer(alpha=float(alpha), rule="code")
    strategy.start(view)
    for _ in range(epochs):
        frozen += alpha * (len(sizes) - frozen)
        assert end_epoch(strategy, view) == set(range(math.ceil(frozen)))


def test_blocks_before_the_smallest_gradient_freeze() -> None:
    view, strategy = build_view([1] * 8, 10), PipeTransformer()
    view.grads = {i: [[g]] for i, g in enumerate([9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 0.1])}
    assert end_epoch(strategy, view) == {0, 1, 2, 3}  # α (L − f) = 4 < 7; the head does not count
    view.grads[5] = [[0.3, -0.4]]
    assert end_epoch(strategy, view) == {0, 1, 2, 3, 4}  # 4 + 2 = 6 > 5
    assert end_epoch(strategy, view) == {0, 1, 2, 3, 4}  # the smallest gradient is the next block's
    decisions = strategy.decide(view)
    assert [d.score for d in decisions] == pytest.approx([0.5, 3.0, 2.0])
    assert {d.threshold for d in decisions} == {decisions[0].score}


def test_a_block_without_gradients_is_not_compared() -> None:
    """Skip a block without gradients. LayerDrop may drop a block in the last step of an epoch."""

    class Unused(HandView):
        def gradients(self, layer: int) -> list[torch.Tensor]:
            return [] if layer in self.unused else super().gradients(layer)

    view = Unused([1] * 5, steps_per_epoch=3, unused={1})
    view.grads = {i: [[9.0 - i]] for i in range(5)}
    assert end_epoch(PipeTransformer(), view) == {0, 1}  # the smallest gradient is that of block 3
    decisions = PipeTransformer().decide(Unused([1] * 3, unused={0}, grads={1: [[2.0]]}))
    assert [d.score for d in decisions] == pytest.approx([math.nan, 2.0], nan_ok=True)
    view.unused = set(range(5))
    assert end_epoch(PipeTransformer(), view) == {0, 1}


def test_the_code_can_freeze_all_blocks_but_not_the_head() -> None:
    view, strategy = build_view([2, 1], 3), PipeTransformer(alpha=1.0, rule="code")
    assert end_epoch(strategy, view) == {0, 1}
    assert strategy.decide(view) == ()


def test_rounding_does_not_freeze_a_block_too_few() -> None:
    view = build_view([1] * 50, 2)  # 0.58 · 50 is 28.999999999999996
    view.grads = {i: [[51.0 - i]] for i in range(51)}
    assert end_epoch(PipeTransformer(alpha=0.58), view) == set(range(29))


def test_rounding_does_not_freeze_a_block_too_many() -> None:
    for blocks, frozen in ((10, 3), (20, 6), (30, 9)):
        view = build_view([1] * blocks, 2)
        assert end_epoch(PipeTransformer(alpha=0.3, rule="code"), view) == set(range(frozen))


def test_options_out_of_range_are_refused() -> None:
    for options in ({"alpha": -0.1}, {"alpha": 1.1}, {"rule": "both"}):
        with pytest.raises(UserError, match="is not valid; give"):
            PipeTransformer(**options)
