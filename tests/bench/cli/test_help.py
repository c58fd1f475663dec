"""The help of every command: types, real defaults, groups and a valid example."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Iterator

import pytest

from bench.cli.main import build_parser, main


def list_parsers() -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Yield every command and action with its parser."""

    def walk(name: str, parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.Action]]:
        yield name, parser
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                for key, sub in action.choices.items():
                    yield from walk(f"{name} {key}", sub)

    yield from walk("freezebench", build_parser())


PARSERS = dict(list_parsers())
FLAGS = (argparse._StoreTrueAction, argparse._HelpAction, argparse._VersionAction)
OPTIONS = [
    (name, action)
    for name, parser in PARSERS.items()
    for action in parser._actions
    if action.option_strings and not isinstance(action, FLAGS)
]


@pytest.mark.parametrize(
    ("command", "action"), OPTIONS, ids=lambda v: v if isinstance(v, str) else v.option_strings[-1]
)
def test_every_option_names_its_type_and_its_default(command: str, action: argparse.Action) -> None:
    help_text = re.sub(r"\s+", " ", PARSERS[command].format_help())
    metavar = action.metavar or action.choices
    assert metavar, "argparse would print the option's name in capitals"
    repeated = isinstance(action, argparse._AppendAction)
    if not repeated or "default" in str(action.help):
        assert f"{action.option_strings[-1]} " in help_text
        shown = action.help or ""
        if "default" not in shown:
            assert action.default not in (None, "", 0, False, argparse.SUPPRESS), command
            assert f"(default: {action.default})" in help_text
    assert "(default: None)" not in help_text
    assert "(default: )" not in help_text


@pytest.mark.parametrize("command", [name for name in PARSERS if " " in name])
def test_the_example_of_every_help_is_a_valid_command(command: str) -> None:
    parser = PARSERS[command]
    example = (parser.epilog or "").partition("example:\n  ")[2]
    assert example.startswith(command.removesuffix(" predictor")), command
    args = build_parser().parse_args(shlex.split(example)[1:])
    assert callable(args.command)


def test_options_of_long_helps_are_in_groups() -> None:
    for command, parser in PARSERS.items():
        plain = parser._optionals._group_actions
        assert len(plain) <= 9, f"{command}: put its options into groups"


def test_no_command_prints_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert "commands:" in capsys.readouterr().out
    assert main(["predictor"]) == 0
    assert "actions:" in capsys.readouterr().out


def test_version_names_the_program_and_the_version_of_results(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert re.fullmatch(
        r"freezebench \d+\.\d+\.\d+ \(results version \d+\)\n", capsys.readouterr().out
    )


def test_a_field_of_a_run_reaches_the_spec_only_if_it_is_given() -> None:
    args = build_parser().parse_args(["sweep", "table2", "--epochs", "3"])
    given = {key for key in vars(args) if key.startswith("field_")}
    assert given == {"field_epochs"}
