"""Data sets are found in their packages by the descriptors that modules define."""

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


def test_one_new_file_adds_a_data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_every_data_set_says_what_it_is() -> None:
    for data_set in catalogue.list_data_sets():
        assert isinstance(data_set, ImageSet | TextSet)
        assert data_set.summary
        assert "\n" not in data_set.summary


def test_an_unknown_data_set_is_one_line_with_the_known_ones() -> None:
    with pytest.raises(UserError, match=r"data set 'digit10' is unknown.*digits10") as caught:
        catalogue.find_data_set("digit10")
    assert "\n" not in str(caught.value)


def test_texts_are_not_loaded_as_images() -> None:
    with pytest.raises(UserError, match="cola holds texts"):
        catalogue.load("cola", resolution=8)
