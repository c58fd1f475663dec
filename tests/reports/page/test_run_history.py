"""Tests of the picture and the list of a run's freeze steps on the page."""

import math

import pytest

from reports.page.run_history import BINS, LEVELS, LISTED, build_run_history, draw_shades
from reports.runs.freeze_history import FreezeHistory, FreezeStage, LayerChange

NAMES = [f"layer{i}" for i in range(9)]


def make(*stages, steps=BINS):
    found = [FreezeStage(step, changes) for step, changes in stages]
    return FreezeHistory(NAMES, steps, steps / 10, found, len(found))


def show(history):
    run = {"id": "abc", "seed": 3, "history": lambda: history}
    return build_run_history(run, {"model": "m"})


def test_picture_draws_a_line_from_the_freeze_to_the_thaw():
    history = make(
        (30, [LayerChange(0, True), LayerChange(2, True)]), (90, [LayerChange(2, False)])
    )
    assert draw_shades(history) == {LEVELS: f"M30 0.5h{BINS - 30}M30 2.5h60"}


def test_shade_is_the_share_of_time_that_a_layer_was_frozen():
    # One part of the picture has 100 steps. The layer is frozen during 30 of the steps of each.
    stages = []
    for part in range(BINS):
        stages.append((100 * part, [LayerChange(0, True)]))
        stages.append((100 * part + 30, [LayerChange(0, False)]))
    assert draw_shades(make(*stages, steps=100 * BINS)) == {
        math.ceil(0.3 * LEVELS): f"M0 0.5h{BINS}"
    }


def test_decisions_name_layers_scores_and_one_common_threshold():
    shown = show(make((12, [LayerChange(0, True, 0.95, 0.91), LayerChange(1, True, 0.92, 0.91)])))
    assert [(d.step, d.epoch, d.text) for d in shown.decisions] == [
        ("12", "1.00", "froze layer0 (0.950), layer1 (0.920)")
    ]
    assert "2 of 9 layers are frozen at the end" in shown.summary
    assert shown.summary.endswith("the threshold is 0.910.")


def test_varying_thresholds_are_named_and_steps_of_schedules_are_not_scores():
    first = (12, [LayerChange(0, True, 0.2, 0.3)])
    second = (24, [LayerChange(1, True, 24.0, 24.0)])
    texts = [d.text for d in show(make(first, second)).decisions]
    assert texts == ["froze layer0 (0.200; threshold 0.300)", "froze layer1"]


def test_many_layers_are_named_as_ranges():
    layers = [0, 1, 2, 3, 5, 7, 8]
    shown = show(make((0, [LayerChange(layer, True) for layer in layers])))
    expected = "froze layer0 to layer3 (4 layers), layer5, layer7 to layer8 (2 layers)"
    assert shown.decisions[0].text == expected


def test_strategies_that_switch_often_list_their_first_decisions():
    stages = [(i, [LayerChange(0, i % 2 == 0)]) for i in range(100)]
    shown = show(make(*stages))
    assert len(shown.decisions) == LISTED
    assert shown.left_out == 100 - LISTED


@pytest.mark.parametrize(
    ("history", "words"),
    [
        (FreezeHistory(NAMES, 10, 5, [], 0), "made no freezing decision"),
        (FreezeHistory(NAMES, 10, 5, [], 0, known=False), "has no decisions.jsonl"),
    ],
)
def test_runs_without_decisions_say_why(history, words):
    assert words in show(history).summary
    assert build_run_history({"id": "x", "history": None}, {}) is None
