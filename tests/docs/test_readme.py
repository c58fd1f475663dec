"""The README names every strategy and the commands that a new user needs."""

from bench.cli.list import format_strategies
from bench.cli.main import COMMANDS
from tests.support.paths import ROOT

README = (ROOT / "README.md").read_text()


def test_the_strategy_table_is_the_generated_one() -> None:
    assert f"--markdown` -->\n{format_strategies()}\n<!-- end -->" in README


def test_the_readme_names_the_commands_of_a_first_session() -> None:
    for name in ("run", "plan", "sweep", "report", "list", "flops"):
        assert f"freezebench {name}" in README
        assert name in COMMANDS
