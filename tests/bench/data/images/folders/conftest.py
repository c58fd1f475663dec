"""Fixture that checks the error of a faulty image folder, for all tests in this directory."""

from collections.abc import Callable
from pathlib import Path

import pytest

from bench.data import catalogue
from bench.errors import UserError

Expect = Callable[[str, Path], None]


@pytest.fixture
def expect_error() -> Expect:
    """Return a function that expects a one-line error from a folder's fingerprint.

    Every command computes the fingerprint first.
    """

    def expect(words: str, root: Path) -> None:
        with pytest.raises(UserError, match=words) as caught:
            catalogue.find_data_set(f"folder:{root}").fingerprint(None)
        assert str(caught.value).isprintable()

    return expect
