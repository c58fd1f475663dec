"""What the documentation says to type works as typed."""

import re
import shlex
from pathlib import Path

import pytest

from bench.cli.main import main
from bench.files import read_json
from tests.support.paths import ROOT


def blocks(language: str) -> list[str]:
    """The code blocks of docs/strategies.md in a language."""
    text = (ROOT / "docs" / "strategies.md").read_text()
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def commands() -> list[list[str]]:
    text = "\n".join(blocks("sh")).replace("\\\n", " ")
    return [shlex.split(line)[1:] for line in text.splitlines() if line.startswith("freezebench")]


def test_a_strategy_of_ones_own_as_documented(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (strategy,), (sweep,) = blocks("python"), blocks("toml")
    assert len(strategy.splitlines()) <= 40
    monkeypatch.chdir(tmp_path)
    Path("early_half.py").write_text(strategy)
    Path("mine.toml").write_text(sweep)
    run, table = commands()

    assert main(run) == 0
    out = capsys.readouterr().out
    result = read_json(Path(out.splitlines()[-1]) / "result.json")
    frozen = [layer["index"] for layer in result["layers"] if layer["frozen_at_step"]]
    assert frozen == list(range(len(result["layers"]) // 2))

    # The same sweep, made short: two seeds, few samples.
    assert main([*table, "--seeds", "2", "--epochs", "2", "--train-limit", "64"]) == 0
    written = Path("results/reports/laptop/mine.md").read_text()
    assert "Fine-tuning, with EarlyHalf, at equal cost" in written
    assert "Paper" not in written.split("## ")[1].split("- Profile")[0]  # nor its column


def test_the_readme_names_every_strategy_and_command() -> None:
    from bench.cli.list import format_strategies
    from bench.cli.main import COMMANDS

    readme = (ROOT / "README.md").read_text()
    assert f"--markdown` -->\n{format_strategies()}\n<!-- end -->" in readme
    for name in ("run", "plan", "flops", "list"):
        assert f"freezebench {name}" in readme
        assert name in COMMANDS
