"""Image folder of three classes for the tests in this folder."""

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from bench.data import catalogue
from bench.errors import UserError

Expect = Callable[[str, Path], None]


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Write two images per class and split."""
    for split in ("train", "val"):
        for name in ("ant", "bee", "cow"):
            (tmp_path / split / name).mkdir(parents=True)
            for i in range(2):
                Image.new("RGB", (20, 20)).save(tmp_path / split / name / f"{i}.png")
    return tmp_path


@pytest.fixture
def expect_error() -> Expect:
    """Return a function that asks for the fingerprint, the first look, and expects a line."""

    def expect(words: str, root: Path) -> None:
        with pytest.raises(UserError, match=words) as caught:
            catalogue.find_data_set(f"folder:{root}").fingerprint(None)
        assert str(caught.value).isprintable()

    return expect
