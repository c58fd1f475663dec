"""Tests of the inputs that are part of a run's id."""

from importlib.metadata import EntryPoint
from pathlib import Path
from types import SimpleNamespace

import pytest

from bench.errors import UserError
from bench.planning.run_inputs import resolve_inputs
from bench.strategy_api.registry import GROUP, find_foreign_package, find_strategies
from tests.support.tiny_runs import make_tiny_spec


def test_the_version_of_a_foreign_strategy_package_is_part_of_the_run_id(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Change the package's version. RESULTS_VERSION covers only the code of this project."""
    ids = []
    for version in ("1.0", "1.0", "1.1"):
        package = SimpleNamespace(name="theirs", version=version)
        point = EntryPoint("theirs", "strategies.full:Full", GROUP)._for(package)
        monkeypatch.setitem(find_strategies(), "theirs", point)
        find_foreign_package.cache_clear()
        ids.append(make_tiny_spec("theirs").id)
    assert ids[0] == ids[1] != ids[2]
    assert "strategy" not in make_tiny_spec("full").contents
    find_foreign_package.cache_clear()


def test_a_folder_in_place_of_a_weights_file_names_the_file_in_it(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").touch()
    spec = make_tiny_spec().with_changes(weights="file")
    with pytest.raises(UserError, match=r"is a folder; pass the file in it, .*model\.safetensors"):
        resolve_inputs(spec, "laptop", {"weights": str(tmp_path)})


@pytest.mark.parametrize(
    ("strategy", "reference", "words"),
    [
        ("cka_oracle", "", "needs a reference; give --reference run:ID"),
        ("cka_oracle", "feedfeedfeed", "reference = 'feedfeedfeed' is not valid; give run:ID"),
        ("autofreeze", "run:feedfeedfeed", "autofreeze uses no reference; remove --reference"),
    ],
)
def test_a_reference_is_given_as_a_run_and_only_where_it_is_used(
    strategy: str, reference: str, words: str
) -> None:
    with pytest.raises(UserError, match=words):
        make_tiny_spec(strategy, reference=reference)


def test_a_damaged_predictor_is_refused_before_the_run(tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(b"damaged")
    spec = make_tiny_spec("full").with_changes(strategy="smartfrz")
    with pytest.raises(UserError, match="cannot be read"):
        resolve_inputs(spec, "laptop", {"predictor": str(damaged)})
