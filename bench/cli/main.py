"""The `freezebench` command."""

from __future__ import annotations

import argparse
import importlib
import select
import sys
from collections.abc import Sequence
from io import TextIOWrapper
from typing import TextIO

from bench.cli.help import add_command, format_version
from bench.cli.interrupts import defer_interrupts_of_imports
from bench.errors import UserError
from bench.siblings import check_siblings

# Each command's module within bench.cli.
COMMANDS = {
    "run": "runs.run",
    "sweep": "runs.sweep",
    "tune": "runs.tune",
    "plan": "runs.plan",
    "status": "runs.status",
    "cancel": "slurm.cancel",
    "retry": "slurm.retry",
    "logs": "slurm.logs",
    "merge": "results.merge",
    "report": "results.report",
    "page": "results.page",
    "export": "results.export",
    "compare": "results.compare",
    "flops": "flops",
    "list": "list",
    "predictor": "predictor.command",
    "backbones": "backbones",
    "perf": "timing.perf",
    "retime": "timing.retime",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line, execute the command and return the exit status."""
    _escape_unprintable_names()
    try:
        with defer_interrupts_of_imports():
            return _execute(arguments)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130


def _execute(arguments: Sequence[str] | None) -> int:
    """Execute a command and return the exit status. Raises KeyboardInterrupt on Ctrl-C."""
    try:
        check_siblings()
    except UserError as error:  # before the commands are imported, which import both packages
        print(f"error: {error}", file=sys.stderr)
        return 2
    parser = build_parser()
    args = parser.parse_args(arguments)
    try:
        return int(args.command(args) or 0)
    except UserError as error:
        if args.debug:
            raise
        print(f"error: {error}", file=sys.stderr)
        return 2
    except Exception as error:
        if isinstance(error, BrokenPipeError) and _has_lost_reader(sys.stdout):
            sys.stderr.close()  # for example: `freezebench list | head`
            return 1
        if args.debug:
            raise
        print(
            f"error: {type(error).__name__}: {error} "
            "(internal error; run with --debug for a traceback)",
            file=sys.stderr,
        )
        return 1


def _has_lost_reader(stream: TextIO) -> bool:
    """Return whether the process that reads a stream has ended."""
    watch = select.poll()
    watch.register(stream, select.POLLOUT)
    return any(events & select.POLLERR for _, events in watch.poll(0))


def _escape_unprintable_names() -> None:
    """Let stdout and stderr escape what they cannot encode, such as names not in UTF-8."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands. Without a command, the program prints the help."""
    top = argparse.ArgumentParser(
        prog="freezebench",
        description="Measure what freezing layers during training saves and what it costs.",
        epilog="`freezebench COMMAND --help` describes a command and shows an example.",
        allow_abbrev=False,
    )
    top.add_argument("--version", action="version", version=format_version())
    top.add_argument("--debug", action="store_true", help="print a traceback if a command fails")
    top.set_defaults(command=lambda _: top.print_help())
    commands = top.add_subparsers(title="commands", metavar="COMMAND")
    for name, place in COMMANDS.items():
        module = importlib.import_module(f"bench.cli.{place}")
        sub = add_command(commands, name, module.HELP, module.EXAMPLE)
        sub.set_defaults(command=module.main)
        module.arguments(sub)
        sub.add_argument(
            "--debug", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS
        )
    return top


if __name__ == "__main__":
    sys.exit(main())
