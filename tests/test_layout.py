"""The source layout follows its rules, and the checker detects broken ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.layout import LINES_IN_A_FILE, Layout


def test_the_layout_follows_its_rules() -> None:
    assert Layout().find_faults() == []


@pytest.mark.parametrize(
    ("path", "text", "fault"),
    [
        ("bench/spec.py", "import bench.errors", "import cycle"),
        ("bench/errors.py", "from bench.costs import clocks", "which comes later in ORDER"),
        ("bench/costs/clocks.py", "import strategies.base", "bench/ may not"),
        ("reports/statistics.py", "import bench.training.loop", "reports/ may not"),
        ("bench/errors.py", "x = 1\n" * (LINES_IN_A_FILE + 1), " lines; the limit is"),
        ("bench/errors.py", "def f():\n" + "    x = 1\n" * 60, "errors.f has 61 lines"),
        ("bench/errors.py", "class Same: ...", "class Same is defined in"),
    ],
)
def test_a_broken_rule_is_detected(
    path: str, text: str, fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.support.layout.ROOT", tmp_path)
    tree = {
        "bench/errors.py": "import bench.spec" if fault.startswith("import cycle") else "",
        "bench/spec.py": "class Same: ...",
        "bench/costs/clocks.py": "",
        "bench/training/loop.py": "",
        "strategies/base.py": "",
        "reports/statistics.py": "",
    }
    for name, content in {**tree, path: text}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    faults = Layout(tmp_path).find_faults()
    assert len(faults) >= 1
    assert any(fault in each for each in faults), faults
