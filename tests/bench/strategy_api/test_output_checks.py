"""What a strategy of somebody's own may get wrong is one line that names it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from bench.errors import UserError
from bench.launch.launch import launch
from bench.planning.run_inputs import resolve
from bench.results.run_folder import RunFolder
from bench.strategy_api.cadence import EverySteps, PerEpoch
from bench.strategy_api.registry import find_strategies, load_strategy_class
from bench.training.loop import execute
from tests.support.tiny_runs import make_tiny_spec

SOURCE = """
import numpy as np
from strategies.base import Integer, PerEpoch, Strategy, Verdict

class Mine(Strategy):
    name = "mine"

    def stages(self):
        return PerEpoch(1)

    def {method}:
        {body}
"""


@pytest.fixture
def spec_of(tmp_path: Path) -> Callable[[str, str], Any]:
    def make(method: str, body: str) -> Any:
        file = tmp_path / "mine.py"
        file.write_text(SOURCE.format(method=method, body=body))
        return resolve(make_tiny_spec().with_changes(strategy=f"{file}:Mine"), "laptop")

    return make


@pytest.mark.parametrize(
    ("method", "body", "said"),
    [
        ("decide(self, view)", "return [0, 1]", r"decide\(\) gave 0; .*Verdict"),
        ("decide(self, view)", "return None", r"decide\(\) gave None; .*Verdict"),
        ("decide(self, view)", "return Verdict(0, True)", r"decide\(\) gave Verdict"),
        ("decide(self, view)", "return [Verdict('conv1', True)]", r"gave Verdict.*conv1"),
        ("decide(self, view)", "return [Verdict(-1, False)]", "gave layer -1; .* from 0 to "),
        ("decide(self, view)", "return [Verdict(999, False)]", "gave layer 999"),
        ("decide(self, view)", "return [Verdict(0, True, None)]", r"decide\(\) gave Verdict"),
        ("decide(self, view)", "return [Verdict(2, True), Verdict(2, False)]", "layer 2 twice"),
        ("decide(self, view)", "return [Verdict(0, 'no')]", r"decide\(\) gave Verdict"),
        ("decide(self, view)", "return [Verdict(0, True, 10**400)]", r"decide\(\) gave Verdict"),
        ("trace(self)", "return [1]", r"trace\(\) gave \[1\]; .*tensors by name"),
        ("trace(self)", "return {'a': 1}", r"trace\(\) gave {'a': 1}"),
        ("cost(self)", "return -1.0", r"cost\(\) gave -1"),
        ("cost(self)", "return float('nan')", r"cost\(\) gave nan"),
        (
            "state_dict(self)",
            "import collections; return {'a': collections.defaultdict(list)}",
            r"\['a'\] is collections.defaultdict",
        ),
        ("stages(self)", "return 5", r"stages\(\) gave 5; .*PerEpoch"),
        ("stages(self)", "return PerEpoch(0)", r"PerEpoch\(k=0\) is no cadence"),
        ("observations(self)", "return None", r"observations\(\) gave None"),
        ("total_steps(self, view)", "return 0", r"total_steps\(\) gave 0"),
        ("total_steps(self, view)", "return None", r"total_steps\(\) gave None"),
        ("cost(self)", "return None", r"cost\(\) gave None"),
        ("state_dict(self)", "return {'a': np.float64(1)}", r"\['a'\] is numpy.float64"),
    ],
)  # fmt: skip
def test_a_wrong_answer_names_the_strategy_and_the_remedy(
    method: str, body: str, said: str, spec_of: Callable[[str, str], Any], tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=said) as error:
        execute(spec_of(method, body), tmp_path / "results")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("rates", "said"),
    [
        ("[0.1]", r"\[0.1\]"),
        ("{i: 0.1 for i in range(len(view.layers))}", r"\{0: 0.1"),
        ("[-0.1] * len(view.layers)", r"\[-0.1"),
        ("[float('nan')] * len(view.layers)", r"\[nan"),
    ],
)
def test_rates_that_are_not_one_a_layer_are_refused(
    spec_of: Callable[[str, str], Any], tmp_path: Path, rates: str, said: str
) -> None:
    body = f"return {rates}\n    sets_learning_rates = True"
    with pytest.raises(UserError, match=rf"learning_rates\(\) gave {said}.*; .* one a layer"):
        execute(spec_of("learning_rates(self, view)", body), tmp_path / "results")


@pytest.mark.parametrize(
    "sin",
    [
        "view.weights(0)[0].add_(0.5)",
        "view._model.get_buffer(next(n for n, _ in view._model.named_buffers())).zero_()",
        "view.step = 10**6",
        "view.total_steps = 2",
        "view.frozen = frozenset({0})",
    ],
)
@pytest.mark.parametrize("method", ["start", "observe", "decide"])
def test_a_strategy_that_changes_what_it_is_shown_is_refused(
    spec_of: Callable[[str, str], Any], tmp_path: Path, method: str, sin: str
) -> None:
    more = "\n    def observations(self):\n        return PerEpoch(1)\n" * (method == "observe")
    spec = spec_of(f"{method}(self, view)", f"{sin}; return []{more}")
    with pytest.raises(UserError, match=rf"{method}\(\) changed .* let it work on clones"):
        execute(spec, tmp_path / "results")


def test_what_a_trace_holds_is_copied(spec_of: Callable[[str, str], Any], tmp_path: Path) -> None:
    """Transposed, and two views of one memory, which its file could not hold."""
    body = "import torch; t = torch.arange(6.0).view(2, 3); return {'a': t.t(), 'b': t}"
    spec = spec_of("trace(self)", body)
    execute(spec, tmp_path / "results")
    kept = load_file(RunFolder(tmp_path / "results", spec.id).path / "trace.safetensors")
    assert torch.equal(kept["a"], kept["b"].t())


@pytest.mark.parametrize("status", ["0", "3", "'enough'"])
def test_a_strategy_that_exits_fails_its_run(
    spec_of: Callable[[str, str], Any], tmp_path: Path, status: str
) -> None:
    spec = spec_of("decide(self, view)", f"raise SystemExit({status})")
    outcome = launch([spec], tmp_path)
    assert list(outcome.failed) == [spec.id]
    assert outcome.failed[spec.id].startswith("SystemExit")
    assert (RunFolder(tmp_path, spec.id).path / "failure.json").exists()


def test_a_file_that_exits_is_no_strategy(tmp_path: Path) -> None:
    (tmp_path / "exits.py").write_text("raise SystemExit(0)")
    with pytest.raises(UserError, match="fails on import: SystemExit"):
        resolve(make_tiny_spec().with_changes(strategy=f"{tmp_path}/exits.py:Mine"), "laptop")


def test_verdicts_that_come_one_by_one_are_all_recorded(
    spec_of: Callable[[str, str], Any], tmp_path: Path
) -> None:
    spec = spec_of("decide(self, view)", "yield Verdict(0, view.epoch < 2)")
    execute(spec, tmp_path / "results")
    lines = (RunFolder(tmp_path / "results", spec.id).path / "decisions.jsonl").read_text()
    told = [json.loads(line) for line in lines.splitlines()]
    assert [line["freeze"] for line in told] == [line["epoch"] < 2 for line in told]
    assert len(told) == spec.epochs


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ('{"stages": Integer(2)}', "option stages is a method's name"),
        ('{"a": 3}', "option a is 3; declare it"),
    ],
)
def test_options_that_cannot_be_declared(options: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "from strategies.base import Integer, Strategy\n"
        f"class A(Strategy):\n    options = {options}\n"
    )
    with pytest.raises(UserError, match=said):
        load_strategy_class(f"{file}:A")


def test_a_file_without_its_class_is_told_how_to_name_it() -> None:
    with pytest.raises(UserError, match=r"give its class too, as mine\.py:MyStrategy"):
        load_strategy_class("mine.py")


@pytest.mark.parametrize("cadence", [EverySteps, PerEpoch])
def test_a_cadence_is_a_whole_number_from_one(cadence: Callable[[Any], Any]) -> None:
    for often in (0, -1, 1.5):
        with pytest.raises(UserError, match="whole number from 1"):
            cadence(often)


def test_nobodys_package_takes_the_place_of_a_strategy_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "theirs-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    points = "full = json:dumps\nodd = json:dumps\ngone = no_such_module:Class\n"
    (folder / "entry_points.txt").write_text(f"[freezebench.strategies]\n{points}")
    monkeypatch.syspath_prepend(str(tmp_path))
    find_strategies.cache_clear()
    try:
        assert load_strategy_class("full").name == "full"
        with pytest.raises(UserError, match="odd: json:dumps is no Strategy"):
            load_strategy_class("odd")
        with pytest.raises(UserError, match=r"gone .*fails on import"):
            load_strategy_class("gone")
    finally:
        monkeypatch.undo()
        find_strategies.cache_clear()


def test_options_for_which_no_predictor_is_shipped() -> None:
    with pytest.raises(UserError, match=r"no predictor is there .*w30-n8.*--predictor FILE"):
        make_tiny_spec("smartfrz", options={"tailored": 8})


def test_a_matched_run_has_no_saving_of_its_own() -> None:
    spec = make_tiny_spec().with_changes(
        strategy="shortened", options={"saving": 0.5}, match=("0" * 12,)
    )
    with pytest.raises(UserError, match=r"saving = 0\.5 has no effect on a matched run"):
        resolve(spec, "laptop")
