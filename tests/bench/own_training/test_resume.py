"""Tests of resuming: a training that stops and resumes gives the bits of an uninterrupted one."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from bench.api import Freezing
from bench.errors import UserError
from tests.support.own_loops import (
    OwnLoop,
    train_plainly,
    train_with_lightning,
    train_with_transformers,
)
from tests.support.paths import SUPPORT
from tests.support.small_training import find_differing
from tests.support.tiny_loop import TinyLoop, make_batch
from tests.support.tiny_runs import make_tiny_spec
from tests.support.tiny_view import build_tiny_net

MOMENT = 4  # step of the checkpoint; lisa draws anew, and a snapshot of smartfrz waits
SMARTFRZ = {"warmup": 0.3, "stages_per_epoch": 2, "threshold": 0.01}
EGERIA = {"samples": 16, "window": 2, "patience": 1, "tolerance": 1.0, "bootstrap": 1.0}
OBSERVING = f"{SUPPORT}/switching.py:Observing"


def make_loop(strategy: str, place: Path) -> OwnLoop:
    options = {"options": SMARTFRZ} if strategy == "smartfrz" else {}
    return OwnLoop(make_tiny_spec(strategy, **options), place)


def assert_same_end(one: OwnLoop, first: Freezing, other: OwnLoop, second: Freezing) -> None:
    assert first.decisions == second.decisions
    assert str(first.report()) == str(second.report())
    assert any(layer.frozen_steps for layer in first.report().layers)
    states = one.model.state_dict(), other.model.state_dict()
    assert all(torch.equal(states[0][k], states[1][k]) for k in states[0])


@pytest.mark.parametrize("strategy", ["smartfrz", "simfreeze", "lisa", OBSERVING])
def test_a_plain_loop_resumes_from_a_file(strategy: str, tmp_path: Path) -> None:
    whole, parts = (make_loop(strategy, tmp_path) for _ in range(2))
    straight = train_plainly(whole)
    train_plainly(parts, tmp_path / "state.pt", stop=MOMENT)
    again = make_loop(strategy, tmp_path)
    assert_same_end(whole, straight, again, train_plainly(again, tmp_path / "state.pt"))


@pytest.mark.parametrize("name", ["transformers", "lightning"])
def test_a_trainer_resumes_from_its_checkpoint(name: str, tmp_path: Path) -> None:
    pytest.importorskip(name)
    trains: dict[str, Callable[..., Any]] = {
        "transformers": train_with_transformers, "lightning": train_with_lightning,
    }  # fmt: skip
    whole, again = (make_loop("lisa", tmp_path) for _ in range(2))
    straight = trains[name](whole, tmp_path)
    resumed = trains[name](again, tmp_path, resume=MOMENT)
    assert_same_end(whole, straight, again, resumed)


@pytest.mark.parametrize("kind", [torch.optim.AdamW, partial(torch.optim.SGD, momentum=0.9)])
def test_freezes_before_the_first_step_leave_a_loaded_optimizer_alone(kind: Any) -> None:
    """Load the optimizer before making Freezing, as trainers with a callback do."""

    def load(parameters: Any) -> torch.optim.Optimizer:
        optimizer: torch.optim.Optimizer = kind(parameters, lr=0.05)
        optimizer.load_state_dict(saved.optimizer.state_dict())
        return optimizer

    script = {"script": "0+01 2-0 8-1"}
    whole, saved = (TinyLoop(optimizer=partial(kind, lr=0.05), options=script) for _ in range(2))
    whole.train()
    saved.train(0, MOMENT)
    resumed = TinyLoop(optimizer=load, options=script)
    resumed.model.load_state_dict(saved.model.state_dict())
    resumed.freezing.load_state_dict(saved.freezing.state_dict())
    resumed.train(MOMENT)
    assert not find_differing(resumed.model.state_dict(), whole.model.state_dict())


@pytest.mark.parametrize("name", ["greentrainer", "slimfit", "egeria", "autofreeze", "apf"])
@pytest.mark.parametrize("moment", [0, MOMENT])
def test_a_state_kept_in_memory_is_that_of_its_moment(name: str, moment: int) -> None:
    """Train on with the same objects, load the kept state, and train again."""
    options = {"egeria": EGERIA, "apf": {"interval": 1, "threshold": 0.9}, "autofreeze": {"M": 2},
               "greentrainer": {"samples": 16}}.get(name, {})  # fmt: skip
    loop = TinyLoop(name, options=options, probe=make_batch(99, 16))
    loop.train(0, moment)
    kept = [copy.deepcopy(part.state_dict()) for part in (loop.model, loop.optimizer)]
    kept.append(loop.freezing.state_dict())
    weights, reports = [], []
    for _ in range(2):
        loop.train(moment)
        weights.append(copy.deepcopy(loop.model.state_dict()))
        reports.append((loop.freezing.decisions, str(loop.freezing.report())))
        for part, state in zip((loop.model, loop.optimizer, loop.freezing), kept, strict=True):
            part.load_state_dict(copy.deepcopy(state) if part is loop.optimizer else state)
    assert reports[0] == reports[1]
    assert not find_differing(*weights)


def test_a_state_of_another_training_is_refused() -> None:
    state = TinyLoop().train(0, 3).freezing.state_dict()
    with pytest.raises(UserError, match="state has total_steps = 12, but this training has 20"):
        TinyLoop(total_steps=20).freezing.load_state_dict(state)
    with pytest.raises(UserError, match=r"state has strategy = 'scripted', but .* has 'full'"):
        TinyLoop("full").freezing.load_state_dict(state)


def test_a_state_of_other_settings_is_refused() -> None:
    """Expect in each message the name of the setting that differs."""
    settings: dict[str, Any] = {"options": {"K": 1}, "seed": 0, "base_lr": 0.05}
    state = TinyLoop("lisa", **settings).train(0, 3).freezing.state_dict()
    for change, message in (
        ({"options": {"K": 3}}, "state has option K = 1, but this training has 3"),
        ({"seed": 5}, "state has seed = 0, but this training has 5"),
        ({"base_lr": 0.1}, r"base_lr = 0\.05, but .* 0\.1; make Freezing with base_lr as before"),
    ):
        with pytest.raises(UserError, match=message):
            TinyLoop("lisa", **{**settings, **change}).freezing.load_state_dict(state)
    with pytest.raises(UserError, match="the state has format 1, but this version reads 2"):
        TinyLoop("lisa", **settings).freezing.load_state_dict({**state, "format": 1})
    TinyLoop("lisa", **settings).freezing.load_state_dict(state)


def test_a_state_of_other_files_is_refused(tmp_path: Path) -> None:
    def make(seed: int) -> Freezing:
        path = tmp_path / "reference.safetensors"
        save_file(build_tiny_net(seed).state_dict(), path)
        probe = (make_batch(99, 300)[0], None)
        return TinyLoop("cka_oracle", files={"reference": path}, probe=probe).freezing

    state = make(1).state_dict()
    with pytest.raises(UserError, match="state has hash of the reference file = "):
        make(2).load_state_dict(state)
    make(1).load_state_dict(state)


def test_weights_loaded_too_late_are_reported() -> None:
    old = TinyLoop(options={"script": "2+0"}).train(0, 3)
    new = TinyLoop(options={"script": "2+0"})
    new.freezing.load_state_dict(old.freezing.state_dict())
    new.model.load_state_dict(old.model.state_dict())
    with pytest.raises(UserError, match=r"load weights before Freezing\.load_state_dict"):
        new.take_step(3)
