"""Tests of labels, corpus, training and scores on synthetic recordings."""

import math
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from bench.errors import UserError
from strategies.smartfrz.predictor import Predictor
from strategies.smartfrz.studies.feature_study import run_study
from strategies.smartfrz.training.calibration import (
    calibrate_threshold,
    compute_calibration_error,
    compute_reliability,
)
from strategies.smartfrz.training.corpus import Histories, build_histories
from strategies.smartfrz.training.fit import PredictorTraining, fit_predictor, predict_probabilities
from strategies.smartfrz.training.held_out import (
    Score,
    compare_scores,
    compute_interval,
    find_groups,
    format_scores,
    score_held_out,
)
from strategies.smartfrz.training.held_out_groups import make_groups
from strategies.smartfrz.training.labels import Rule
from tests.support.recordings import make_recording

torch.set_num_threads(1)

CURVE = torch.tensor([[0.50, 0.9], [0.70, 0.9], [0.71, 0.9], [0.705, 0.8], [0.712, 0.9]])


def test_stable_labels_equal_manual_calculation() -> None:
    label, known = Rule("stable", k=3, epsilon=0.02).labels(CURVE)
    assert known[:, 0].tolist() == [False, False, True, True, True]
    assert label.int().tolist() == [[0, 0], [0, 0], [0, 1], [1, 0], [1, 0]]


def test_settled_labels_depend_on_later_values() -> None:
    label, known = Rule("settled", epsilon=0.02).labels(CURVE)
    assert known.all(1).tolist() == [True, True, True, True, False]
    assert label.int().tolist() == [[0, 0], [1, 0], [1, 0], [1, 0], [0, 0]]


def test_smoothing_averages_a_value_with_earlier_values() -> None:
    label, _ = Rule("stable", k=2, epsilon=0.06, smooth=2).labels(CURVE)
    # Averages of layer 1: .9 .9 .9 .85 .85
    assert label[:, 1].int().tolist() == [0, 1, 1, 1, 1]


def test_a_missing_cka_value_gives_no_label() -> None:
    curve = CURVE.clone()
    curve[1, 0] = math.nan
    _, known = Rule("stable", k=2).labels(curve)
    assert known[:, 0].tolist() == [False, False, False, True, True]


def test_a_rule_selects_the_estimator_and_the_ends_of_epochs() -> None:
    trace = {"cka": CURVE, "cka_biased": CURVE / 2, "probes": torch.linspace(0, 1, 5)}
    curve, times = Rule(estimator="biased", every=2).select(trace)
    assert torch.equal(curve, CURVE[[0, 2, 4]] / 2)
    assert times.tolist() == [0, 0.5, 1]
    assert torch.equal(Rule().select(trace)[0], CURVE)


@pytest.fixture(scope="module")
def corpus() -> Histories:
    runs = [
        make_recording(f"{f}{t}{s}", f"family{f}", f"task{t}", 100 * f + 10 * t + s)
        for f in range(2)
        for t in range(2)
        for s in range(2)
    ]
    return build_histories(runs, "travel", 12, Rule(k=3, epsilon=0.02), unlabelled_share=0.1)


TRAINING = PredictorTraining(window=12, epochs=12, batch=8)


def test_each_labelled_moment_uses_the_snapshot_taken_at_that_moment(corpus: Histories) -> None:
    assert corpus.tokens.shape == (32, 31, 9)
    assert corpus.newest[0].tolist() == list(range(0, 31, 3))
    assert not corpus.known[:, :2].any()  # k = 3 values, and the share without labels
    assert corpus.known[:, 2:].all()
    window = corpus.mask_windows(12)[0]
    assert window.sum(1).tolist() == [min(12, 1 + i) for i in range(0, 31, 3)]
    assert window[5].nonzero()[-1].item() == 15


def test_a_moment_of_a_history_scores_as_its_window_alone(corpus: Histories) -> None:
    network = fit_predictor(corpus, PredictorTraining(window=12, epochs=1, batch=8))
    whole = predict_probabilities(network, corpus, 12)
    with torch.no_grad():
        window = corpus.tokens[:, 15 - 11 : 15 + 1]
        alone = network(window, torch.ones(window.shape[:2], dtype=torch.bool)).softmax(1)[:, 1]
    torch.testing.assert_close(whole[:, 5], alone)


def test_training_is_repeatable_and_beats_progress_alone(corpus: Histories) -> None:
    torch.manual_seed(5)
    network = fit_predictor(corpus, TRAINING)
    torch.manual_seed(6)  # the random state of the caller must not matter
    again = fit_predictor(corpus, TRAINING)
    for key, value in network.state_dict().items():
        assert torch.equal(value, again.state_dict()[key])
    scores = score_held_out(corpus, TRAINING, ["predictor", "progress alone"])
    assert scores["predictor"].average_groups() > 0.95 > scores["progress alone"].average_groups()
    mean, half = compare_scores(scores["predictor"], scores["progress alone"])
    assert mean - half > 0
    assert "progress alone" in format_scores(scores)
    assert set(scores["predictor"].groups) == {
        ("family", "family0"),
        ("family", "family1"),
        ("task", "task0"),
        ("task", "task1"),
    }


def test_plain_sgd_with_momentum_equals_manual_calculation(corpus: Histories) -> None:
    """Take two steps on one batch of all histories: v ← 0.9 v + g, w ← w − lr · v.

    These steps do not clip the gradient norm. Then take one step that clips it.
    """
    count, lr = len(corpus.tokens), 0.5
    plain = {"window": 12, "batch": count, "optimizer": "sgd", "weight_decay": 0.0}
    training = PredictorTraining(**plain, lr=lr, schedule="constant", clip=0.0, standardise=False)
    start, one, two = (fit_predictor(corpus, replace(training, epochs=n)) for n in (0, 1, 2))
    first, second = (compute_gradients(network, corpus) for network in (start, one))
    assert sum(float(g.norm()) ** 2 for g in first.values()) > 0.01
    for name, w in start.named_parameters():
        w = w - lr * first[name]
        torch.testing.assert_close(dict(one.named_parameters())[name], w)
        w = w - lr * (0.9 * first[name] + second[name])
        torch.testing.assert_close(dict(two.named_parameters())[name], w)
    assert torch.equal(one.shift, torch.zeros(9))  # tokens are not standardised
    clipped = fit_predictor(corpus, replace(training, epochs=1, clip=1e-3))
    moved = [a - b for a, b in zip(clipped.parameters(), start.parameters(), strict=True)]
    assert math.hypot(*(float(m.norm()) for m in moved)) == pytest.approx(lr * 1e-3, rel=1e-2)


def compute_gradients(network: Predictor, corpus: Histories) -> dict[str, torch.Tensor]:
    """Return the gradients of the mean cross-entropy over all labelled moments."""
    network = deepcopy(network).requires_grad_(True)
    keys, values = network.encode(corpus.tokens)
    logits = network.attend(corpus.queries(), keys, values, corpus.mask_windows(12))
    known = corpus.known
    torch.nn.functional.cross_entropy(logits[known], corpus.label[known].long()).backward()
    return {n: w.grad for n, w in network.named_parameters() if w.grad is not None}


def test_a_diverged_training_and_batches_without_labels(corpus: Histories) -> None:
    wild = PredictorTraining(
        window=12, epochs=3, batch=8, optimizer="sgd", lr=1e6, schedule="constant", clip=0.0
    )
    with pytest.raises(UserError, match=r"diverged with sgd at lr 1e\+06; give a smaller --lr"):
        fit_predictor(corpus, wild)
    known = corpus.known.clone()
    known[4:] = False
    few = replace(corpus, known=known)  # most batches have no label
    network = fit_predictor(few, PredictorTraining(window=12, epochs=1, batch=4))
    assert predict_probabilities(network, few, 12).isfinite().all()


def test_the_identity_of_a_training_names_only_new_values() -> None:
    assert PredictorTraining().identity().endswith("standardise=True, seed=0)")
    assert PredictorTraining(clip=0.0).identity().endswith("seed=0, clip=0.0)")


@pytest.mark.parametrize("split", ["run", "family", "task", "both"])
def test_each_run_is_held_out_once_and_its_family_and_task_are_not_fitted(
    corpus: Histories, split: str
) -> None:
    parts = make_groups(corpus.origins, split)
    assert sorted(i for group in parts for i in group.held) == list(range(len(corpus.origins)))
    for group in parts:
        assert group.fit
        held, fitted = ([corpus.origins[i] for i in part] for part in (group.held, group.fit))
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


def test_an_interrupted_study_resumes_from_its_saved_rows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [
        make_recording(f"{f}{t}", f"family{f}", f"task{t}", 10 * f + t)
        for f in range(2)
        for t in range(2)
    ]
    kept = tmp_path / "study.csv"
    training = PredictorTraining(window=12, epochs=1, batch=8)
    rules = {"stable": Rule(k=3, epsilon=0.02)}
    first = run_study(runs, training, 0.1, kept, ["travel"], rules)
    assert len(first) == 4
    more = run_study(runs, training, 0.1, kept, ["travel", "upstream"], rules)
    assert more[:4] == first
    assert [row["features"] for row in more[4:]] == ["upstream"]
    assert capsys.readouterr().out.count("\n") == 2
    fewer = run_study(runs[:3], training, 0.1, kept, ["travel"], rules)
    assert capsys.readouterr().out.count("\n") == 1  # rows of another corpus are not reused
    assert {row["corpus"] for row in fewer}.isdisjoint(row["corpus"] for row in more)
    assert run_study(runs, training, 0.1, kept, ["travel"], rules) == more
    assert not capsys.readouterr().out


def test_the_threshold_rises_until_few_freezes_are_wrong(corpus: Histories) -> None:
    # P is 0.8 at moments labelled as converged, and 0.6 at all others.
    early = torch.full(corpus.label.shape, 0.6, dtype=torch.float64)
    sure = corpus.label & corpus.known
    p = torch.where(sure, 0.8, early)
    wrong_at_first = ~sure[:, 2]
    assert wrong_at_first.float().mean() > 0.5
    limit, froze, early = calibrate_threshold(corpus, {"family": p, "task": p}, wrong=0.0)
    assert (limit, early) == (pytest.approx(0.61), 0)
    assert froze > 0
    limit, froze, early = calibrate_threshold(corpus, {"family": p, "task": p}, wrong=1.0)
    assert limit == 0.5
    assert early > froze / 2
    never = torch.where(sure, 0.0, 0.995)
    limit, froze, early = calibrate_threshold(corpus, {"family": never}, wrong=0.1)
    assert limit == 0.99
    assert early == froze > 0


def test_training_of_ten_steps_ends(corpus: Histories) -> None:
    """OneCycleLR divides by zero if a tenth of the steps is one step."""
    network = fit_predictor(corpus, PredictorTraining(window=12, epochs=10, batch=32))
    assert all(p.isfinite().all() for p in network.parameters())


def test_a_group_whose_held_out_run_has_one_label_has_no_auroc(corpus: Histories) -> None:
    label = corpus.label.clone()
    label[corpus.run <= 1] = True  # the two runs of the first family on the first task
    one = replace(corpus, label=label)
    groups, lines = find_groups(one, ["both"])
    assert "family0, task0 of the split both has no AUROC: in its held-out part" in lines[0]
    assert len(groups) == 3  # the opposite group has no other label to train on
    score = score_held_out(one, TRAINING, ["progress alone"], ["both"])["progress alone"]
    values = list(score.groups.values())
    assert len(values) == 2
    assert score.find_worst_group(["both"]) == min(values)
    assert score.average_groups(["both"]) == pytest.approx(sum(values) / 2)


def test_interval_equals_manual_calculation() -> None:
    mean, half = compute_interval([1.0, 2.0, 3.0])
    assert mean == 2
    assert half == pytest.approx(4.303 / 3**0.5, rel=1e-3)  # t with 2 degrees of freedom


def test_one_value_and_no_value_have_no_interval() -> None:
    assert compute_interval([0.5]) == (0.5, pytest.approx(math.nan, nan_ok=True))
    assert all(math.isnan(value) for value in compute_interval([]))


def test_a_run_held_out_in_two_splits_counts_once() -> None:
    values = {("family", "a"): 0.6, ("task", "a"): 0.8, ("family", "b"): 0.9, ("task", "b"): 0.9}
    score = Score({}, values, values, {})
    assert score.average_by_run(values) == pytest.approx([0.7, 0.9])
    assert score.average_by_run(values, ["task"]) == pytest.approx([0.8, 0.9])
