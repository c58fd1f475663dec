"""Mistakes in a user's strategy raise a one-line error that names the strategy."""

import json
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from bench.errors import UserError
from bench.launch.launch import launch
from bench.planning.run_inputs import resolve_inputs
from bench.results.run_folder import RunFolder
from bench.strategy_api.cadence import EverySteps, PerEpoch
from bench.strategy_api.registry import create_strategy, find_strategies, load_strategy_class
from bench.training.loop import execute
from tests.support.tiny_runs import make_tiny_spec

SOURCE = """
import numpy as np
from strategies.base import Integer, PerEpoch, Strategy, Decision

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
        return resolve_inputs(make_tiny_spec().with_changes(strategy=f"{file}:Mine"), "laptop")

    return make


@pytest.mark.parametrize(
    ("method", "body", "said"),
    [
        ("decide(self, view)", "return [0, 1]", r"decide\(\) returned 0; .*Decision"),
        ("decide(self, view)", "return None", r"decide\(\) returned None; .*Decision"),
        ("decide(self, view)", "return Decision(0, True)", r"decide\(\) returned Decision"),
        ("decide(self, view)", "return [Decision('conv1', True)]", r"returned Decision.*conv1"),
        ("decide(self, view)", "return [Decision(-1, False)]", "returned layer -1; .*layers 0 to"),
        ("decide(self, view)", "return [Decision(999, False)]", "returned layer 999"),
        ("decide(self, view)", "return [Decision(0, True, None)]", r"decide\(\) returned Decision"),
        ("decide(self, view)", "return [Decision(2, True), Decision(2, False)]", "layer 2 twice"),
        ("decide(self, view)", "return [Decision(True, True)]", r"returned Decision\(layer=True"),
        ("decide(self, view)", "return np.array(0)", r"decide\(\) returned array\(0\); .*Decision"),
        ("decide(self, view)", "while True: yield Decision(2, True)", "layer 2 twice"),
        (
            "decide(self, view)",
            "return [Decision(len(view.layers) - 1, True)]",
            r"strategy Mine: decide\(\) freezes layer \d+ \(classifier\.6\), the head",
        ),
        ("decide(self, view)", "return [Decision(0, 'no')]", r"decide\(\) returned Decision"),
        ("decide(self, view)", "return [Decision(0, True, 10**400)]", r"\(\) returned Decision"),
        ("trace(self)", "return [1]", r"trace\(\) returned \[1\]; .*dict of dense tensors"),
        ("trace(self)", "return {'a': 1}", r"trace\(\) returned {'a': 1}"),
        ("cost(self)", "return -1.0", r"cost\(\) returned -1"),
        ("cost(self)", "return float('nan')", r"cost\(\) returned nan"),
        ("cost(self)", "return 10**400", r"cost\(\) returned 10+\.\.\.; .*FLOPs"),
        ("cost(self)", "return 10**5000", r"cost\(\) returned a very long int; .*FLOPs"),
        (
            "state_dict(self)",
            "import collections; return {'a': collections.defaultdict(list)}",
            r"\['a'\] has the type collections.defaultdict",
        ),
        ("state_dict(self)", "return None", r"state_dict\(\) returned None; .*a dict"),
        ("stages(self)", "return 5", r"stages\(\) returned 5; .*PerEpoch"),
        ("stages(self)", "return PerEpoch", r"the class PerEpoch; write parentheses"),
        ("stages(self)", "return PerEpoch(0)", r"PerEpoch\(k=0\) is not a valid cadence"),
        ("observations(self)", "return None", r"observations\(\) returned None"),
        ("total_steps(self, view)", "return 0", r"total_steps\(\) returned 0"),
        ("total_steps(self, view)", "return None", r"total_steps\(\) returned None"),
        ("total_steps(self, view)", "return True", r"total_steps\(\) returned True"),
        ("cost(self)", "return None", r"cost\(\) returned None"),
        ("state_dict(self)", "return {'a': np.float64(1)}", r"\['a'\] has the type numpy.float64"),
    ],
)  # fmt: skip
def test_a_wrong_return_value_gives_an_error_with_the_fix(
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
def test_learning_rates_must_be_one_per_layer(
    spec_of: Callable[[str, str], Any], tmp_path: Path, rates: str, said: str
) -> None:
    body = f"return {rates}\n    sets_learning_rates = True"
    with pytest.raises(UserError, match=rf"learning_rates\(\) returned {said}.*; .* one per layer"):
        execute(spec_of("learning_rates(self, view)", body), tmp_path / "results")


def test_learning_rates_must_be_defined_if_the_class_says_so(
    spec_of: Callable[[str, str], Any], tmp_path: Path
) -> None:
    spec = spec_of("decide(self, view)", "return []\n    sets_learning_rates = True")
    with pytest.raises(UserError, match="sets_learning_rates is True, but the class has no"):
        execute(spec, tmp_path / "results")


@pytest.mark.parametrize(
    "sin",
    [
        "view.weights(0)[0].add_(0.5)",
        "view._model.get_buffer(next(n for n, _ in view._model.named_buffers())).zero_()",
        "view.step = 10**6",
        "view.total_steps = 2",
        "view.frozen = frozenset({0})",
        "view.base_lr = 1.0",
        "view._model.requires_grad_(False)",
    ],
)
@pytest.mark.parametrize("method", ["start", "observe", "decide"])
def test_a_strategy_that_modifies_the_run_is_rejected(
    spec_of: Callable[[str, str], Any], tmp_path: Path, method: str, sin: str
) -> None:
    more = "\n    def observations(self):\n        return PerEpoch(1)\n" * (method == "observe")
    spec = spec_of(f"{method}(self, view)", f"{sin}; return []{more}")
    with pytest.raises(UserError, match=rf"{method}\(\) changed .* must work on clones"):
        execute(spec, tmp_path / "results")


def test_tensors_of_a_trace_are_copied(spec_of: Callable[[str, str], Any], tmp_path: Path) -> None:
    """Return tensors that safetensors rejects without copies: transposed, or with shared memory."""
    body = "import torch; t = torch.arange(6.0).view(2, 3); return {'a': t.t(), 'b': t}"
    spec = spec_of("trace(self)", body)
    execute(spec, tmp_path / "results")
    kept = load_file(RunFolder(tmp_path / "results", spec.id).path / "trace.safetensors")
    assert torch.equal(kept["a"], kept["b"].t())


@pytest.mark.parametrize("status", ["0", "3", "'enough'"])
def test_a_strategy_that_raises_system_exit_fails_its_run(
    spec_of: Callable[[str, str], Any], tmp_path: Path, status: str
) -> None:
    spec = spec_of("decide(self, view)", f"raise SystemExit({status})")
    outcome = launch([spec], tmp_path)
    assert list(outcome.failed) == [spec.id]
    assert outcome.failed[spec.id].startswith("SystemExit")
    assert (RunFolder(tmp_path, spec.id).path / "failure.json").exists()


def test_a_strategy_file_that_raises_system_exit_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "exits.py").write_text("raise SystemExit(0)")
    with pytest.raises(UserError, match="cannot be imported: SystemExit"):
        resolve_inputs(
            make_tiny_spec().with_changes(strategy=f"{tmp_path}/exits.py:Mine"), "laptop"
        )


def test_decide_may_be_a_generator(spec_of: Callable[[str, str], Any], tmp_path: Path) -> None:
    spec = spec_of("decide(self, view)", "yield Decision(0, view.epoch < 2)")
    execute(spec, tmp_path / "results")
    lines = (RunFolder(tmp_path / "results", spec.id).path / "decisions.jsonl").read_text()
    decisions = [json.loads(line) for line in lines.splitlines()]
    assert [line["freeze"] for line in decisions] == [line["epoch"] < 2 for line in decisions]
    assert len(decisions) == spec.epochs


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ('{"stages": Integer(2)}', "option stages is an attribute of Strategy"),
        ("[Integer(2)]", "declare options by name"),
        ('{"a": 3}', "option a is 3; declare it"),
    ],
)
def test_invalid_option_declarations_are_rejected(options: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "from strategies.base import Integer, Strategy\n"
        f"class A(Strategy):\n    options = {options}\n"
    )
    with pytest.raises(UserError, match=said):
        load_strategy_class(f"{file}:A")


@pytest.mark.parametrize(
    ("signature", "body", "options", "said"),
    [
        ("self", "super().__init__()", {"a": 3}, r"does not accept the options \(.*'a'\); declare"),
        ("self, **options", "super().__init__()", {"a": 3}, "does not set option a; declare"),
        ("self, **options", "pass", {}, "does not set option a; declare"),
        ("self, **options", "super().__init__(**options)", {"a": 3}, ""),
        ("self, **options", "super().__init__(**options); self.a = [self.a]", {"a": 3}, ""),
        ("self", "super().__init__()", {}, ""),
    ],
)
def test_an_init_that_loses_options_is_rejected(
    signature: str, body: str, options: dict[str, int], said: str, tmp_path: Path
) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "from strategies.base import Integer, Strategy\n"
        "class A(Strategy):\n    options = {'a': Integer(2)}\n"
        f"    def __init__({signature}):\n        {body}\n"
    )
    with pytest.raises(UserError, match=said) if said else nullcontext():
        assert create_strategy(f"{file}:A", options).a in (2, 3, [3])


def test_a_strategy_file_without_a_class_gives_an_example() -> None:
    with pytest.raises(UserError, match=r"add the class, for example mine\.py:MyStrategy"):
        load_strategy_class("mine.py")


@pytest.mark.parametrize("cadence", [EverySteps, PerEpoch])
def test_a_cadence_must_be_a_positive_integer(cadence: Callable[[Any], Any]) -> None:
    for often in (0, -1, 1.5):
        with pytest.raises(UserError, match="whole number of at least 1"):
            cadence(often)


def test_an_installed_package_cannot_replace_a_built_in_strategy(
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
        with pytest.raises(UserError, match="odd: json:dumps is not a subclass"):
            load_strategy_class("odd")
        with pytest.raises(UserError, match=r"gone .*cannot be imported"):
            load_strategy_class("gone")
    finally:
        monkeypatch.undo()
        find_strategies.cache_clear()


def test_options_without_a_shipped_predictor_are_rejected() -> None:
    with pytest.raises(UserError, match=r"no predictor .*w30-n8.*--predictor FILE"):
        make_tiny_spec("smartfrz", options={"tailored": 8})


def test_a_matched_run_rejects_its_own_saving() -> None:
    spec = make_tiny_spec().with_changes(
        strategy="shortened", options={"saving": 0.5}, match=("0" * 12,)
    )
    with pytest.raises(UserError, match=r"saving = 0\.5 has no effect on a matched run"):
        resolve_inputs(spec, "laptop")
