"""Tests of evaluation.npz: outcomes and sources survive, and damage has a clear message."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import UserError
from bench.results.evaluation_file import FILE, SampleOutcomes, read_evaluation, write_evaluation


@given(st.integers(0, 2**32), st.integers(1, 300), st.sampled_from([0, 1, 2]), st.booleans())
def test_outcomes_and_sources_survive(tmp_path_factory, seed, samples, k, binary):
    draw = np.random.default_rng(seed)
    folder = tmp_path_factory.mktemp("run")
    written = SampleOutcomes(
        draw.random(samples) < 0.9,
        draw.random(samples) < 0.5 if binary else None,
        draw.integers(0, draw.choice([5, 300, 70_000]), (samples, k)) if k else None,
        fold=3,
    )
    write_evaluation(folder, written)
    found = read_evaluation(folder)
    assert (found.correct == written.correct).all()
    assert (found.number_sources() == written.number_sources()).all()
    assert found.number_sources().dtype == np.int64
    assert (found.truth is None) == (not binary)
    assert found.hash() == written.hash()
    content = (folder / FILE).read_bytes()
    write_evaluation(folder, written)
    assert (folder / FILE).read_bytes() == content


def test_sources_of_their_own_differ_between_folds_of_any_size():
    folds = [
        SampleOutcomes(np.ones(n, bool), None, None, fold) for fold, n in enumerate((360, 359))
    ]
    first, second = (set(one.number_sources().ravel().tolist()) for one in folds)
    assert len(first) == 360
    assert not first & second


def test_the_hash_sees_every_outcome_and_every_source():
    correct, sources = np.array([True, False, True]), np.array([[1], [1], [2]])
    base = SampleOutcomes(correct, None, sources, 0).hash()
    assert SampleOutcomes(~correct, None, sources, 0).hash() != base
    assert SampleOutcomes(correct, None, sources[::-1].copy(), 0).hash() != base
    assert SampleOutcomes(correct, correct, sources, 0).hash() != base


def test_a_run_of_ten_thousand_images_needs_little_space(tmp_path):
    draw = np.random.default_rng(0)
    write_evaluation(tmp_path, SampleOutcomes(draw.random(10_000) < 0.9, None, None, 0))
    assert (tmp_path / FILE).stat().st_size < 3000
    digits = draw.permutation(360).repeat(6)[:, None]
    write_evaluation(tmp_path, SampleOutcomes(draw.random(2160) < 0.9, None, digits, 0))
    assert (tmp_path / FILE).stat().st_size < 3000


@pytest.mark.parametrize("damage", ["gone", "empty", "cut", "text", "foreign"])
def test_a_missing_or_damaged_file_is_named(tmp_path, damage):
    path = tmp_path / FILE
    write_evaluation(tmp_path, SampleOutcomes(np.ones(999, bool), None, np.zeros((999, 2)), 0))
    if damage == "gone":
        path.unlink()
    elif damage == "foreign":
        np.savez(path, other=np.ones(3))
    else:
        path.write_bytes(
            {"empty": b"", "cut": path.read_bytes()[:300], "text": b"no zip file"}[damage]
        )
    with pytest.raises(UserError, match=str(path)) as error:
        read_evaluation(tmp_path)
    assert "delete its folder to run it again" in str(error.value)
    assert "\n" not in str(error.value)
