"""Tests of labels, corpus, training and scores on synthetic recordings."""

import math
from pathlib import Path

import pytest
import torch

from strategies.smartfrz.studies.feature_study import run_study
from strategies.smartfrz.training.calibration import (
    calibrate_threshold,
    compute_calibration_error,
    compute_reliability,
)
from strategies.smartfrz.training.corpus import Histories, Recording, RunOrigin, build_histories
from strategies.smartfrz.training.fit import PredictorRecipe, fit_predictor, predict_probabilities
from strategies.smartfrz.training.folds import make_folds
from strategies.smartfrz.training.held_out import (
    Score,
    compare_scores,
    compute_interval,
    format_scores,
    score_held_out,
)
from strategies.smartfrz.training.labels import Rule

torch.set_num_threads(1)

CURVE = torch.tensor([[0.50, 0.9], [0.70, 0.9], [0.71, 0.9], [0.705, 0.8], [0.712, 0.9]])


def test_stable_labels_equal_manual_calculation() -> None:
    label, known = Rule("stable", k=3, epsilon=0.02).labels(CURVE)
    assert known[:, 0].tolist() == [False, False, True, True, True]
    assert label.int().tolist() == [[0, 0], [0, 0], [0, 1], [1, 0], [1, 0]]


def test_settled_labels_depend_on_later_values() -> None:
    label, known = Rule("settled", epsilon=0.02).labels(CURVE)
    assert known.all()
    assert label.int().tolist() == [[0, 0], [1, 0], [1, 0], [1, 0], [1, 1]]


def test_smoothing_averages_a_value_with_earlier_values() -> None:
    label, _ = Rule("stable", k=2, epsilon=0.06, smooth=2).labels(CURVE)
    # Averages of layer 1: .9 .9 .9 .85 .85
    assert label[:, 1].int().tolist() == [0, 1, 1, 1, 1]


def test_a_missing_cka_value_gives_no_label() -> None:
    curve = CURVE.clone()
    curve[1, 0] = math.nan
    _, known = Rule("stable", k=2).labels(curve)
    assert known[:, 0].tolist() == [False, False, False, True, True]


def make_recording(run: str, family: str, task: str, seed: int) -> Recording:
    """Return a run whose layers settle at random times.

    Before that time both its weights and its CKA change; afterwards they hardly do.
    """
    generator = torch.Generator().manual_seed(seed)
    moments, layers = 31, 4
    progress = torch.linspace(0, 1, moments, dtype=torch.float64)
    settles = torch.rand(layers, generator=generator) * 0.8 + 0.1
    speed = torch.where(progress[:, None] < settles, 0.1, 1e-4).float()
    steps = torch.randn(moments, layers, 32, generator=generator) * speed[:, :, None]
    start = torch.randn(1, layers, 32, generator=generator)
    signs = torch.where(torch.arange(moments) % 2 == 0, 1.0, -1.0)[:, None]
    return Recording(
        RunOrigin(run, family, task),
        {
            "snapshots": start + steps.cumsum(0),
            "progress": progress,
            "rate": 1 - progress,
            "cka": (0.9 + signs * speed)[::3].double(),
            "probes": progress[::3].contiguous(),
        },
    )


@pytest.fixture(scope="module")
def corpus() -> Histories:
    runs = [
        make_recording(f"{f}{t}{s}", f"family{f}", f"task{t}", 100 * f + 10 * t + s)
        for f in range(2)
        for t in range(2)
        for s in range(2)
    ]
    return build_histories(runs, "travel", 12, Rule(k=3, epsilon=0.02), warmup=0.1)


RECIPE = PredictorRecipe(window=12, epochs=12, batch=8)


def test_each_labelled_moment_uses_the_snapshot_taken_at_that_moment(corpus: Histories) -> None:
    assert corpus.tokens.shape == (32, 31, 9)
    assert corpus.newest[0].tolist() == list(range(0, 31, 3))
    assert not corpus.known[:, :2].any()  # because of k = 3 values and the warm-up
    assert corpus.known[:, 2:].all()
    window = corpus.mask_windows(12)[0]
    assert window.sum(1).tolist() == [min(12, 1 + i) for i in range(0, 31, 3)]
    assert window[5].nonzero()[-1].item() == 15


def test_a_moment_of_a_history_scores_as_its_window_alone(corpus: Histories) -> None:
    network = fit_predictor(corpus, PredictorRecipe(window=12, epochs=1, batch=8))
    whole = predict_probabilities(network, corpus, 12)
    with torch.no_grad():
        window = corpus.tokens[:, 15 - 11 : 15 + 1]
        alone = network(window, torch.ones(window.shape[:2], dtype=torch.bool)).softmax(1)[:, 1]
    torch.testing.assert_close(whole[:, 5], alone)


def test_training_is_repeatable_and_beats_progress_alone(corpus: Histories) -> None:
    torch.manual_seed(5)
    network = fit_predictor(corpus, RECIPE)
    torch.manual_seed(6)  # the random state of the caller must not matter
    again = fit_predictor(corpus, RECIPE)
    for key, value in network.state_dict().items():
        assert torch.equal(value, again.state_dict()[key])
    scores = score_held_out(corpus, RECIPE, ["predictor", "progress alone"])
    assert scores["predictor"].average_folds() > 0.95 > scores["progress alone"].average_folds()
    mean, half = compare_scores(scores["predictor"], scores["progress alone"])
    assert mean - half > 0
    assert "progress alone" in format_scores(scores)
    assert set(scores["predictor"].folds) == {
        ("family", "family0"),
        ("family", "family1"),
        ("task", "task0"),
        ("task", "task1"),
    }


@pytest.mark.parametrize("split", ["run", "family", "task", "both"])
def test_each_run_is_held_out_once_and_its_family_and_task_are_not_fitted(
    corpus: Histories, split: str
) -> None:
    parts = make_folds(corpus.origins, split)
    assert sorted(i for fold in parts for i in fold.held) == list(range(len(corpus.origins)))
    for fold in parts:
        assert fold.fit
        held, fitted = ([corpus.origins[i] for i in part] for part in (fold.held, fold.fit))
        assert not {o.run for o in held} & {o.run for o in fitted}
        if split in ("family", "both"):
            assert not {o.family for o in held} & {o.family for o in fitted}
        if split in ("task", "both"):
            assert not {o.task for o in held} & {o.task for o in fitted}


def test_reliability_and_calibration_error_equal_manual_calculation(corpus: Histories) -> None:
    p = torch.where(corpus.label, 0.95, 0.35).double()
    bins = compute_reliability(corpus, p)
    assert [share for _, share, _ in bins] == [0.0, 1.0]
    assert sum(n for _, _, n in bins) == int(corpus.known.sum())
    share = float(corpus.label[corpus.known].double().mean())
    assert compute_calibration_error(bins) == pytest.approx(0.35 * (1 - share) + 0.05 * share)


def test_an_interrupted_study_resumes_from_its_saved_rows(tmp_path: Path) -> None:
    runs = [
        make_recording(f"{f}{t}", f"family{f}", f"task{t}", 10 * f + t)
        for f in range(2)
        for t in range(2)
    ]
    kept, printed = tmp_path / "study.csv", []
    recipe = PredictorRecipe(window=12, epochs=1, batch=8)
    rules = {"stable": Rule(k=3, epsilon=0.02)}
    first = run_study(runs, recipe, 0.1, kept, ["travel"], rules, printed.append)
    assert len(first) == 4
    more = run_study(runs, recipe, 0.1, kept, ["travel", "upstream"], rules, printed.append)
    assert more[:4] == first
    assert [row["features"] for row in more[4:]] == ["upstream"]
    assert len(printed) == 2
    fewer = run_study(runs[:3], recipe, 0.1, kept, ["travel"], rules, printed.append)
    assert len(printed) == 3  # rows of another corpus are not reused
    assert {row["corpus"] for row in fewer}.isdisjoint(row["corpus"] for row in more)
    assert run_study(runs, recipe, 0.1, kept, ["travel"], rules, printed.append) == more
    assert len(printed) == 3


def test_the_threshold_rises_until_few_freezes_are_wrong(corpus: Histories) -> None:
    # P is 0.8 at moments labelled as converged, and 0.6 at all others.
    early = torch.full(corpus.label.shape, 0.6, dtype=torch.float64)
    sure = corpus.label & corpus.known
    p = torch.where(sure, 0.8, early)
    wrong_at_first = ~sure[:, 2]
    assert wrong_at_first.float().mean() > 0.5
    limit, share = calibrate_threshold(corpus, {"family": p, "task": p}, wrong=0.0)
    assert (limit, share) == (pytest.approx(0.61), 0.0)
    limit, share = calibrate_threshold(corpus, {"family": p, "task": p}, wrong=1.0)
    assert limit == 0.5
    assert share > 0.5
    never = torch.where(sure, 0.0, 0.995)
    assert calibrate_threshold(corpus, {"family": never}, wrong=0.1) == (0.99, 1.0)


def test_interval_equals_manual_calculation() -> None:
    mean, half = compute_interval([1.0, 2.0, 3.0])
    assert mean == 2
    assert half == pytest.approx(4.303 / 3**0.5, rel=1e-3)  # t with 2 degrees of freedom


def test_a_run_held_out_in_two_splits_counts_once() -> None:
    values = {("family", "a"): 0.6, ("task", "a"): 0.8, ("family", "b"): 0.9, ("task", "b"): 0.9}
    score = Score({}, values, values, {})
    assert score.average_by_run(values) == pytest.approx([0.7, 0.9])
    assert score.average_by_run(values, ["task"]) == pytest.approx([0.8, 0.9])
