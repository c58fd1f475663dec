"""Test that a run that has ended frees its model, also after an error."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path

import pytest

from bench.errors import UserError
from bench.training.loop import execute
from bench.training.run_state import RunState
from tests.support.tiny_runs import make_tiny_spec


@pytest.mark.parametrize("strategy", ["full", "smartfrz", "autofreeze"])
@pytest.mark.parametrize("fails", [False, True])
def test_an_ended_run_frees_its_model_without_a_garbage_collection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, strategy: str, fails: bool
) -> None:
    models = []
    build = RunState.__init__

    def watch(self: RunState, *arguments: object) -> None:
        build(self, *arguments)
        models.append(weakref.ref(self.model))

    def fail(step: int, steps: int) -> None:
        if fails:
            raise UserError("stop here")

    monkeypatch.setattr(RunState, "__init__", watch)
    gc.collect()
    gc.disable()
    try:
        try:
            execute(make_tiny_spec(strategy), tmp_path, progress=fail)
        except UserError:
            assert fails
        (model,) = models
        assert model() is None
    finally:
        gc.enable()
