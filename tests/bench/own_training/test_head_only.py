"""Tests of models with only a head: each strategy trains the head, or says why it cannot."""

from __future__ import annotations

from pathlib import Path

import pytest
from safetensors.torch import save_file
from torch import nn

from bench.errors import UserError
from bench.strategy_api.built_in import find_built_in
from bench.strategy_api.registry import load_strategy_class
from tests.support.tiny_loop import STEPS, TinyLoop, make_batch

REFUSING = {
    "greentrainer": "rho = 0.5 is too low",
    "record": "nothing to record",
    "spfde": "cannot meet a budget",  # its default asks for a saving
}


@pytest.mark.parametrize("name", find_built_in())
def test_a_head_alone_trains_or_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 5))
    path = tmp_path / "reference.safetensors"
    save_file(model.state_dict(), path)
    needed = load_strategy_class(name).needs_reference
    settings = {"files": {"reference": path} if needed else {}, "probe": make_batch(99, 300)}
    if name in REFUSING:
        with pytest.raises(UserError, match=REFUSING[name]) as error:
            TinyLoop(name, model=model, **settings)
        assert "\n" not in str(error.value)
        return
    loop = TinyLoop(name, model=model, **settings).train()
    report = loop.freezing.report()
    assert report.steps == STEPS
    assert [layer.frozen_steps for layer in report.layers] == [0]
    assert all(group["lr"] > 0 for group in loop.optimizer.param_groups)


def test_random_and_at_once_cannot_save_anything() -> None:
    for name in ("random", "at_once"):
        model = nn.Sequential(nn.Flatten(), nn.Linear(192, 5))
        with pytest.raises(UserError, match="cannot meet a budget"):
            TinyLoop(name, model=model, options={"saving": 0.2})
