"""LISA's decisions equal those of its rule, restated here, and real runs follow it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from bench.errors import UserError
from bench.layers.discovery import find_layers
from bench.planning.run_inputs import resolve_inputs
from bench.results.decisions import list_frozen_sets, read_decisions
from bench.results.run_folder import RunFolder
from bench.seeds import make_generator
from bench.spec import Spec
from bench.training.freezing_stage import run_stage
from bench.training.run_state import RunState
from bench.training.training_step import take_step
from strategies.blocks import find_embeddings
from strategies.rotating.lisa import Lisa
from tests.support.hand_view import HandView
from tests.support.tiny_runs import execute_run, make_tiny_spec


def build_view(embeddings: int, sizes: list[int], total_steps: int, seed: int = 0) -> HandView:
    """Return a view of a transformer with embeddings, blocks of these sizes and a head."""
    blocks = [0] * embeddings + [b for b, size in enumerate(sizes) for _ in range(size)]
    return HandView(
        [1] * (len(blocks) + 1),
        blocks=[*blocks, len(sizes)],
        joined=range(embeddings),
        total_steps=total_steps,
        seed=seed,
    )


def run(strategy: Lisa, view: HandView) -> dict[int, set[int]]:
    """Return the layers that are frozen after each draw, by step."""
    strategy.start(view)
    frozen = {}
    for step in range(view.total_steps):
        if strategy.stages().due(step, view.steps_per_epoch):
            for decision in strategy.decide(view):
                change = view.frozen.union if decision.freeze else view.frozen.difference
                view.frozen = change({decision.layer})
            frozen[step] = set(view.frozen)
    return frozen


def restate(
    generator: torch.Generator, blocks: list[set[int]], n: int, every: int, steps: int
) -> dict[int, set[int]]:
    """Return the frozen layers by step. `blocks` holds neither embeddings nor head."""
    expected = {}
    for step in range(0, steps, every):
        train = torch.randperm(len(blocks), generator=generator)[:n]
        rest = set(range(len(blocks))) - {int(block) for block in train}
        expected[step] = {layer for block in rest for layer in blocks[block]}
    return expected


@settings(max_examples=200, deadline=None)
@given(
    embeddings=st.integers(0, 3),
    sizes=st.lists(st.integers(1, 4), min_size=1, max_size=24),
    n=st.integers(1, 30),
    every=st.integers(1, 25),
    steps=st.integers(1, 120),
    seed=st.integers(0, 2**32 - 1),
)
def test_decisions_equal_the_rule(
    embeddings: int, sizes: list[int], n: int, every: int, steps: int, seed: int
) -> None:
    view, blocks, layer = build_view(embeddings, sizes, steps, seed), [], embeddings
    for size in sizes:
        blocks.append(set(range(layer, layer + size)))
        layer += size
    expected = restate(view.generator("lisa"), blocks, n, every, steps)
    assert run(Lisa(n=n, K=every), view) == expected


@pytest.mark.parametrize(
    ("model", "data", "block"),
    [
        ("laptop_vgg11", "digits10", r"(features|classifier)\.\d+"),
        ("laptop_deit", "digits10", r"blocks\.\d+"),
        ("laptop_bert", "grammar:acceptability", r"bert\.encoder\.layer\.\d+|bert\.pooler"),
    ],
)
def test_a_real_run_follows_the_rule(model: str, data: str, block: str, tmp_path: Path) -> None:
    values = {"model": model, "data": data, "strategy": "lisa", "options": {"n": 2, "K": 2}}
    values |= {"resolution": 24, "length": 16}
    spec = resolve_inputs(
        Spec.from_dict({**values, "epochs": 3, "train_limit": 64, "seed": 4}), "laptop"
    )
    result = execute_run(spec, tmp_path)
    blocks: dict[str, set[int]] = {}
    for layer in result["layers"][:-1]:
        if found := re.match(block, layer["name"]):
            name = found[0].replace("bert.pooler", "bert.encoder.layer.3")
            blocks.setdefault(name, set()).add(layer["index"])
    generator = make_generator(4, "strategy", "lisa")
    expected = restate(generator, list(blocks.values()), 2, 2, result["steps"])
    lines = read_decisions(RunFolder(tmp_path, spec.id).path)
    assert dict(list_frozen_sets(lines)) == expected
    assert len(expected) == 3


def test_embeddings_are_the_layers_before_the_first_transformer_block() -> None:
    for joined, count in (([], 0), ([0], 1), ([0, 1], 2), ([0, 1, 4], 2)):  # 4: a pooler
        assert find_embeddings(HandView([1] * 6, blocks=[0] * 5 + [1], joined=joined)) == frozenset(
            range(count)
        )


def test_a_gate_of_a_stem_is_an_embedding() -> None:
    """Check a convolution named "attn". It is no attention, so it is in no transformer block."""

    class Hybrid(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.ModuleList([nn.ModuleDict({"attn": nn.Conv2d(3, 4, 8)})])
            self.blocks = nn.ModuleList([nn.ModuleDict({"attn": nn.Linear(4, 4)})])
            self.head = nn.Linear(4, 2)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            tokens = self.stem[0]["attn"](images).flatten(1)
            return self.head(self.blocks[0]["attn"](tokens))

    view = HandView([1])
    view.layers = find_layers(Hybrid(), (torch.zeros(2, 3, 8, 8),))
    assert find_embeddings(view) == {0}


def test_frozen_blocks_keep_their_optimizer_state(tmp_path: Path) -> None:
    run = RunState(make_tiny_spec("lisa", options={"n": 1, "K": 1}, optimizer="adamw"), tmp_path)
    run.strategy.start(run.view)
    run.model.train()
    run.accounting.enter_state(0, frozenset())
    trained: set[int] = set()
    for _ in range(6):
        run_stage(run)
        trained |= set(range(len(run.layers))) - run.view.frozen
        take_step(run)
    kept = {
        layer.index
        for layer in run.layers
        if all(run.model.get_parameter(p) in run.optimizer.state for p in layer.parameters)
    }
    assert kept == trained
    assert len(trained) > 2


def test_options_out_of_range_are_refused() -> None:
    for options in ({"n": 0}, {"K": 0}, {"K": -20}):
        with pytest.raises(UserError, match=r"is not valid; give a whole number of at least 1"):
            Lisa(**options)
