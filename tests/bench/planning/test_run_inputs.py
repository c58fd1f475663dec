"""What a run's id says of the things it reads."""

from importlib.metadata import EntryPoint
from types import SimpleNamespace

import pytest

from bench.strategy_api.registry import GROUP, foreign_package, installed
from tests.support.tiny_runs import tiny


def test_the_version_of_a_strategys_package_is_part_of_the_id(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its code is not ours: RESULTS_VERSION says nothing of it."""
    ids = []
    for version in ("1.0", "1.0", "1.1"):
        package = SimpleNamespace(name="theirs", version=version)
        point = EntryPoint("theirs", "strategies.full:Full", GROUP)._for(package)
        monkeypatch.setitem(installed(), "theirs", point)
        foreign_package.cache_clear()
        ids.append(tiny("theirs").id)
    assert ids[0] == ids[1] != ids[2]
    assert "strategy" not in tiny("full").contents
    foreign_package.cache_clear()
