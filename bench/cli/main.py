"""The command line: `freezebench COMMAND`."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

from bench.errors import UserError

# Each command's module within bench.cli.
COMMANDS = {
    "run": "runs.run",
    "sweep": "runs.sweep",
    "plan": "runs.plan",
    "status": "runs.status",
    "cancel": "slurm.cancel",
    "retry": "slurm.retry",
    "logs": "slurm.logs",
    "merge": "results.merge",
    "report": "results.report",
    "page": "results.page",
    "flops": "flops",
    "list": "list",
    "predictor": "predictor",
    "perf": "timing.perf",
    "retime": "timing.retime",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and do it; returns the exit status."""
    args = build_parser().parse_args(arguments)
    try:
        return int(args.command(args) or 0)
    except UserError as error:
        if args.debug:
            raise
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output went away
        sys.stderr.close()
        return 1
    except Exception as error:
        if args.debug:
            raise
        print(
            f"error: {type(error).__name__}: {error} (a fault of the program; --debug shows where)",
            file=sys.stderr,
        )
        return 1


def build_parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = argparse.ArgumentParser(
        prog="freezebench",
        description="Measures what freezing layers during training saves, and what it costs.",
    )
    top.add_argument("--debug", action="store_true", help="show a traceback when something fails")
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    for name, place in COMMANDS.items():
        module = importlib.import_module(f"bench.cli.{place}")
        sub = commands.add_parser(
            name,
            help=module.HELP,
            description=module.HELP,
            formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        )
        module.arguments(sub)
        sub.add_argument(
            "--debug", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS
        )
        sub.set_defaults(command=module.main)
    return top


if __name__ == "__main__":
    sys.exit(main())
