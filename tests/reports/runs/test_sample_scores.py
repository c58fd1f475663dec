"""Sample scores of recently read runs are kept, within a limit, until their file changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.errors import UserError
from bench.results.evaluation_file import FILE, write_evaluation
from reports.runs import sample_scores
from reports.runs.sample_scores import read_sample_scores
from tests.support.synthetic_results import make_evaluation


def test_scores_are_kept_until_their_file_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = [tmp_path / name for name in "abc"]
    for seed, folder in enumerate(folders):
        folder.mkdir()
        write_evaluation(folder, make_evaluation(80.0, seed))
    first = [read_sample_scores(folder, "accuracy", 80.0) for folder in folders]
    assert all(
        read_sample_scores(folder, "accuracy", 80.0) is scores
        for folder, scores in zip(folders, first, strict=True)
    )
    write_evaluation(folders[0], make_evaluation(80.0, seed=9))
    again = read_sample_scores(folders[0], "accuracy", 80.0)
    assert again is not first[0]
    assert set(again.sources.ravel()) == {18, 19}
    (folders[1] / FILE).unlink()
    with pytest.raises(UserError, match="does not exist"):
        read_sample_scores(folders[1], "accuracy", 80.0)

    monkeypatch.setattr(sample_scores, "_recent", sample_scores._Recent())
    monkeypatch.setattr(sample_scores, "KEPT", 2 * again.nbytes)
    c = read_sample_scores(folders[2], "accuracy", 80.0)
    read_sample_scores(folders[0], "accuracy", 80.0)
    assert read_sample_scores(folders[2], "accuracy", 80.0) is c  # used last, so it stays
    write_evaluation(folders[1], make_evaluation(80.0, seed=1))
    read_sample_scores(folders[1], "accuracy", 80.0)
    assert read_sample_scores(folders[2], "accuracy", 80.0) is c
    read_sample_scores(folders[0], "accuracy", 80.0)
    read_sample_scores(folders[1], "accuracy", 80.0)
    assert read_sample_scores(folders[2], "accuracy", 80.0) is not c
