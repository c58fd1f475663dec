"""Help texts of the command line: option groups, types, defaults and an example."""

from __future__ import annotations

import argparse
from importlib.metadata import version

from bench.options import Choice, Flag, Integer, Option, Real

METAVARS = {Integer: "INT", Real: "FLOAT", Flag: "BOOL"}


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Help that prints each real default and keeps the line breaks of the example.

    If the default of an option is empty (None, "", False, 0 or []), the formatter prints no
    default. The help text of the option then says what happens without the option. A help text that
    contains "(default:" is printed unchanged.
    """

    def _get_help_string(self, action: argparse.Action) -> str | None:
        said = "(default:" in (action.help or "")
        if action.default is argparse.SUPPRESS or not action.default or said:
            return action.help
        return super()._get_help_string(action)


def add_command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    text: str,
    example: str,
) -> argparse.ArgumentParser:
    """Add a command and return its parser. text: what it does, from a verb in lower case.

    Options cannot be abbreviated: --seed would be read as --seeds.
    """
    return commands.add_parser(
        name,
        help=text,
        description=f"{text[0].upper()}{text[1:]}.",
        epilog=f"example:\n  {example}",
        formatter_class=HelpFormatter,
        allow_abbrev=False,
    )


def name_type(option: Option) -> str:
    """Return the metavar that names the type of an option: INT, FLOAT, BOOL, TEXT or {a,b}."""
    if isinstance(option, Choice):
        return "{" + ",".join(option.choices) + "}"
    return METAVARS.get(type(option), "TEXT")


def format_field_help(option: Option, default: str) -> str:
    """Return the help text of a field of a run: meaning, valid range and default."""
    valid = f"; {option.describe_valid()}" if isinstance(option, (Integer, Real)) else ""
    return f"{option.doc}{valid} (default: {default})".replace("%", "%%")


def format_version() -> str:
    """Return the program's name, its version and the results version."""
    from bench.revisions import RESULTS_VERSION

    return f"freezebench {version('freezebench')} (results version {RESULTS_VERSION})"
