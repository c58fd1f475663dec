"""Tests of the freeze history of a run, read from its decisions in both formats."""

import json

import pytest

from bench.errors import UserError
from bench.results.decisions import encode_layers
from reports.runs.freeze_history import read_freeze_history

NAMES, STEPS = ["stem", "middle", "head"], 40


def decide(step, layer, freeze, score=0.5):
    return {"step": step, "epoch": step / 10, "layer": layer, "name": NAMES[layer],
            "score": score, "threshold": 0.4, "freeze": freeze}  # fmt: skip


def read(folder, lines):
    (folder / "decisions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return read_freeze_history(folder, NAMES, STEPS, 10)


def test_a_layer_is_frozen_between_its_freeze_and_its_thaw(tmp_path):
    lines = [
        decide(10, 0, freeze=False),
        decide(10, 1, freeze=False),
        decide(20, 0, freeze=True),
        decide(20, 1, freeze=True),
        decide(30, 0, freeze=True),  # no change
        decide(30, 1, freeze=False),
        decide(40, 1, freeze=True),  # after the last step, so it was not applied
    ]
    history = read(tmp_path, lines)
    assert history.list_intervals() == [[(20, 40)], [(20, 30)], []]
    assert [stage.step for stage in history.stages] == [20, 30]
    assert history.decided == 3
    assert [(c.layer, c.freezes, c.score) for c in history.stages[1].changes] == [(1, False, 0.5)]


def test_compact_lines_give_the_same_intervals(tmp_path):
    lines = [{"step": s, "frozen": encode_layers(f)} for s, f in ((0, [0]), (20, [0, 1]), (30, []))]
    assert read(tmp_path, lines).list_intervals() == [[(0, 30)], [(20, 30)], []]


def test_missing_decisions_are_known_to_be_missing_and_damaged_ones_are_named(tmp_path):
    assert not read_freeze_history(tmp_path, NAMES, STEPS, 10).known
    for line in ({"step": 10}, {**decide(10, 0, freeze=True), "layer": 7}):
        with pytest.raises(UserError, match=r"decisions\.jsonl"):
            read(tmp_path, [line])
