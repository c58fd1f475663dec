"""Test that a user's training loop freezes the same layers at the same steps as the harness."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.api import Freezing
from bench.results.decisions import read_decisions
from bench.results.run_folder import RunFolder
from bench.spec import Spec
from tests.support.own_loops import (
    OwnLoop,
    train_plainly,
    train_with_lightning,
    train_with_transformers,
)
from tests.support.paths import SUPPORT
from tests.support.tiny_runs import execute_run, load_weights, make_tiny_spec

Loop = Callable[[OwnLoop, Path], Freezing]
LOOPS: dict[str, Loop] = {
    "plain": lambda own, place: train_plainly(own),
    "transformers": train_with_transformers,
    "lightning": train_with_lightning,
}
# Strategies that freeze layers in any order, freeze a prefix, and thaw.
COMPARED = ("smartfrz", "autofreeze", "lisa")
# Sets learning rates, takes snapshots, computes gradients on a probe, and reads the training loss.
OBSERVING = f"{SUPPORT}/switching.py:Observing"
CASES = [*((loop, strategy) for loop in LOOPS for strategy in COMPARED), ("plain", OBSERVING)]
SMARTFRZ = {"warmup": 0.3, "stages_per_epoch": 3}


@cache
def make_spec(strategy: str, results: Path) -> Spec:
    """Return a spec with which the strategy freezes some layers, but not all at once."""
    if strategy != "smartfrz":
        return make_tiny_spec(strategy, keep_model=True)
    # Half of the scores of a run that freezes nothing are above the threshold.
    looking = make_tiny_spec(strategy, options={**SMARTFRZ, "threshold": 1.0})
    execute_run(looking, results)
    scores = [line["score"] for line in read_decisions(RunFolder(results, looking.id).path)]
    limit = statistics.median(scores)
    return make_tiny_spec(strategy, keep_model=True, options={**SMARTFRZ, "threshold": limit})


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("harness")


def execute_once(spec: Spec, results: Path) -> dict[str, Any]:
    folder = RunFolder(results, spec.id)
    return folder.result() if folder.done else execute_run(spec, results)


@pytest.mark.parametrize(("loop", "strategy"), CASES)
def test_decisions_weights_and_flops_equal_those_of_the_harness(
    loop: str, strategy: str, results: Path, tmp_path: Path
) -> None:
    if loop == "lightning":
        pytest.importorskip("lightning")
    spec = make_spec(strategy, results)
    result = execute_once(spec, results)
    own = OwnLoop(spec, results)
    freezing = LOOPS[loop](own, tmp_path)

    decided = read_decisions(RunFolder(results, spec.id).path)
    assert freezing.decisions == decided
    report = freezing.report()
    when = [layer["frozen_at_step"] for layer in result["layers"]]
    assert [layer.frozen_at for layer in report.layers] == when
    assert any(step is not None for step in when)

    trained = load_weights(spec, results)
    assert all(torch.equal(value, trained[k]) for k, value in own.model.state_dict().items())
    for convention in ("exact", "paper"):
        assert report.spent[convention].total == result["flops"][convention]["total"]
        assert report.full[convention].total == result["flops"][f"full_{convention}"]
    assert report.decide == result["flops"]["decide"]
