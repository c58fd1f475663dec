"""Command-line arguments that several commands share."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.cli.argument_types import parse_count, parse_path
from bench.cli.help import format_field_help, name_type
from bench.errors import UserError
from bench.files import expand_home
from bench.spec import FIELDS

if TYPE_CHECKING:
    pass


def add_results_argument(parser: argparse._ActionsContainer) -> None:
    """Add --results DIR."""
    parser.add_argument(
        "--results",
        type=parse_path,
        default=os.environ.get("FREEZEBENCH_RESULTS") or "results",
        metavar="DIR",
        help="folder of runs and reports; the environment variable FREEZEBENCH_RESULTS sets it too",
    )


def add_profile_argument(
    parser: argparse._ActionsContainer, text: str = "name of a profile, or a TOML file"
) -> None:
    """Add --profile NAME, whose help is `text`."""
    parser.add_argument("--profile", default="laptop", metavar="NAME", help=text)


def add_data_root_argument(parser: argparse._ActionsContainer) -> None:
    """Add --data-root DIR."""
    parser.add_argument(
        "--data-root",
        default="",
        metavar="DIR",
        help="folder that holds the data sets (default: none; built-in data needs no folder)",
    )


def add_file_arguments(parser: argparse._ActionsContainer) -> None:
    """Add --data-root, --vocab and --predictor."""
    add_data_root_argument(parser)
    add_vocab_argument(parser)
    parser.add_argument(
        "--predictor",
        default="",
        metavar="FILE",
        help="SmartFRZ predictor, a safetensors file (default: the profile's own predictor)",
    )


def add_vocab_argument(parser: argparse._ActionsContainer) -> None:
    """Add --vocab."""
    parser.add_argument(
        "--vocab",
        default="",
        metavar="FILE",
        help="vocab.txt of BERT's tokenizer (default: the file next to BERT's weights)",
    )


def collect_files(args: argparse.Namespace) -> dict[str, str]:
    """Return the files that the user named, by kind. Raise UserError if a file does not exist."""
    named = {"data": args.data_root, "weights": getattr(args, "weights_file", "")}
    named |= {kind: getattr(args, kind, "") for kind in ("vocab", "predictor")}
    for kind, path in named.items():
        if path and not expand_home(path).exists():
            option = "--data-root" if kind == "data" else f"--{kind}"
            fault = f"{option} {path}: there is no such file or folder"
            advice = "check the path" + (
                ", or give pretrained or run:ID" if kind == "weights" else ""
            )
            raise UserError(f"{fault}; {advice}")
    return {kind: path for kind, path in named.items() if path}


def add_field_arguments(
    parser: argparse._ActionsContainer, names: tuple[str, ...], default: str = ""
) -> None:
    """Add an option for each named field of a run. The namespace omits options not given.

    default: text that replaces the field's own default in the help text.
    """
    for name in names:
        option = FIELDS[name]
        own = "false" if option.default is False else str(option.default) or "none"
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            dest=f"field_{name}",
            metavar=name_type(option),
            default=argparse.SUPPRESS,
            help=format_field_help(option, default or own),
        )


def collect_fields(args: argparse.Namespace) -> dict[str, Any]:
    """Return the fields of a run that were given on the command line."""
    return {
        key.removeprefix("field_"): value
        for key, value in vars(args).items()
        if key.startswith("field_")
    }


def add_workers_argument(parser: argparse._ActionsContainer) -> None:
    """Add --workers INT."""
    parser.add_argument(
        "--workers",
        type=parse_count,
        default=0,
        metavar="INT",
        help="local worker processes (default: as many as the machine can run side by side)",
    )


def add_out_argument(parser: argparse._ActionsContainer) -> None:
    """Add --out DIR."""
    parser.add_argument(
        "--out",
        type=parse_path,
        default=None,
        metavar="DIR",
        help="output folder; each profile gets a folder in it (default: RESULTS/reports)",
    )


def require_results(args: argparse.Namespace) -> Path:
    """Return the results folder. Raise UserError if it does not exist."""
    results: Path = args.results
    if not results.is_dir():
        raise UserError(
            f"--results {results}: there is no such folder; `freezebench sweep` creates it"
        )
    return results
