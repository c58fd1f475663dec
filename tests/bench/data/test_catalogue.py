"""Tests of the data set catalogue: it finds the descriptors that modules define."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.data import catalogue, texts
from bench.data.images.dataset import ImageSet
from bench.data.texts.dataset import TextSet
from bench.errors import UserError

NEW = '''
from bench.data.interface.descriptor import Facts
from bench.data.texts.dataset import TextData, TextSample, TextSet


class Greetings(TextSet):
    """Two texts."""

    summary = "two greetings"

    def describe(self, root):
        return Facts(2, 2, 8)

    def load(self, evaluate_on, root):
        texts = (TextSample("hello", label=0), TextSample("bye", label=1))
        return TextData(self.name, 2, "accuracy", texts, texts)


DATA_SETS = (Greetings("greetings"),)
'''


def test_a_new_file_adds_a_data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "greetings.py").write_text(NEW)
    monkeypatch.setattr(texts, "__path__", [*texts.__path__, str(tmp_path)])
    catalogue.list_data_sets.cache_clear()
    try:
        assert catalogue.holds_texts("greetings")
        assert catalogue.describe("greetings").train_samples == 2
        assert len(catalogue.load_texts("greetings", "test", "", 1).train) == 1
        assert len(catalogue.find_data_set("greetings").fingerprint(None)) == 16
    finally:
        catalogue.list_data_sets.cache_clear()
        catalogue.load_texts.cache_clear()


def test_every_data_set_has_a_one_line_summary() -> None:
    for data_set in catalogue.list_data_sets():
        assert isinstance(data_set, ImageSet | TextSet)
        assert data_set.summary
        assert "\n" not in data_set.summary


def test_the_error_for_an_unknown_data_set_lists_the_known_ones_in_one_line() -> None:
    with pytest.raises(UserError, match=r"data set 'digit10' is unknown.*digits10") as caught:
        catalogue.find_data_set("digit10")
    assert "\n" not in str(caught.value)


def test_texts_are_not_loaded_as_images() -> None:
    with pytest.raises(UserError, match="cola is a text data set"):
        catalogue.load("cola", resolution=8)
