"""Command-line arguments that several commands share."""

from __future__ import annotations

import argparse
import atexit
import gc
import os
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.cli.argument_types import parse_count, parse_path, parse_positive_int
from bench.cli.help import format_field_help, name_type
from bench.errors import UserError
from bench.files import expand_home
from bench.options import make_unknown_error
from bench.spec import FIELDS

if TYPE_CHECKING:
    from bench.planning.sweep import Sweep
    from bench.spec import Spec

ALL = "all"

# Fields of a run that can be changed for a whole sweep. The sweep and its profile set the others.
CHANGEABLE = (
    "epochs",
    "evaluate_on",
    "score_epochs",
    "score_samples",
    "train_limit",
    "device",
    "precision",
    "resolution",
    "normalisation",
    "threads",
    "replicas",
    "nodes",
    "data_workers",
    "sequential",
    "channels_last",
    "cache_prefix",
    "fold_norms",
    "checkpointing",
    "compiled",
)


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
    parser.add_argument(
        "--vocab",
        default="",
        metavar="FILE",
        help="vocab.txt of BERT's tokenizer (default: the file next to BERT's weights)",
    )
    parser.add_argument(
        "--predictor",
        default="",
        metavar="FILE",
        help="SmartFRZ predictor, a safetensors file (default: the profile's own predictor)",
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


def add_sweep_arguments(parser: argparse.ArgumentParser, number: str = "+") -> None:
    """Add the names of sweeps, --controls, and the arguments of `add_sweep_choice_arguments`.

    number: argparse's nargs: "+", or "*" for commands that use all sweeps if no name is given.
    """
    parser.add_argument(
        "sweep",
        nargs=number,
        default=[ALL],
        help=f"names of sweeps, or TOML files; `{ALL}` means all tables and figures of the paper"
        + (f" (default: {ALL})" if number == "*" else ""),
    )
    add_sweep_choice_arguments(parser).add_argument(
        "--controls",
        action="store_true",
        help="include the further methods and controls in [[controls]] of the sweep",
    )


def add_sweep_choice_arguments(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Add the options that select and change the runs of a sweep.

    These are the profile, the seeds, the files and the changed fields. Returns the argument group
    of the profile and the seeds.
    """
    chosen = parser.add_argument_group("runs of the sweep")
    add_profile_argument(chosen)
    chosen.add_argument(
        "--seeds",
        type=parse_positive_int,
        default=None,
        metavar="INT",
        help="number of seeds (default: as the sweep says)",
    )
    files = parser.add_argument_group("files")
    add_results_argument(files)
    add_file_arguments(files)
    add_role_weights_argument(files)
    changes = parser.add_argument_group(
        "settings of the runs",
        "These options replace values of the profile and the sweep. Except where stated, they\n"
        "are part of a run's id. Give other commands the values that you gave to `sweep`.",
    )
    add_field_arguments(changes, CHANGEABLE, default="unchanged")
    return chosen


def add_role_weights_argument(parser: argparse._ActionsContainer) -> None:
    """Add --weights ROLE=FILE."""
    parser.add_argument(
        "--weights",
        action="append",
        default=[],
        metavar="ROLE=FILE",
        help="safetensors file with a model's initial weights, for example resnet50=FILE; "
        "repeat for more models (default: as the profile says)",
    )


def collect_sweep_files(args: argparse.Namespace) -> dict[str, str]:
    """Return the files that the user named, by kind; the kind of weights is "weights:ROLE".

    Raises UserError if a file does not exist.
    """
    files = collect_files(args)
    for pair in args.weights:
        role, equals, file = pair.partition("=")
        if not equals or not expand_home(file).is_file():
            why = f"there is no file {file}" if equals else "the role is missing"
            raise UserError(f"--weights {pair}: {why}; give ROLE=FILE, for example resnet50=FILE")
        files[f"weights:{role}"] = file
    return files


def resolve_sweep(args: argparse.Namespace) -> Sweep:
    """Return the sweep that the arguments name. Several sweeps are joined into one sweep."""
    files = collect_sweep_files(args)
    # Nothing loaded here becomes garbage, and garbage collection would take a third of the time.
    gc.disable()
    try:
        from bench.planning.run_inputs import check_files_used
        from bench.planning.sweep import join_sweeps, load_sweep
        from bench.planning.sweep_files import list_tables

        names = [name for n in args.sweep for name in (list_tables() if n == ALL else [n])]
        load = partial(
            load_sweep,
            profile_name=args.profile,
            controls=args.controls,
            seeds=args.seeds,
            files=files,
            changes=collect_fields(args),
        )
        sweep = join_sweeps([load(name) for name in dict.fromkeys(names)])
        gc.freeze()
        atexit.register(gc.unfreeze)  # some libraries report frozen objects as leaks at exit
        check_files_used(files, sweep.specs)
        _check_roles(args.weights, sweep)
    finally:
        gc.enable()
    return sweep


def _check_roles(pairs: Iterable[str], sweep: Sweep) -> None:
    """Raise UserError for weights of an unknown role, and of a role that trains from scratch."""
    models = {entry.roles["model"] for entry in sweep.entries}
    roles = {*sweep.profile["models"], *models}
    used = {spec.paths.get("weights") for spec in sweep.specs}
    for pair in pairs:
        role, _, file = pair.partition("=")
        if role not in roles:
            raise make_unknown_error("--weights: role", role, sorted(roles))
        if role in models and str(expand_home(file).resolve()) not in used:
            raise UserError(
                f"--weights {pair}: has no effect, because no run of {sweep.name} starts from this "
                "file; omit it"
            )


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


def check_data(specs: Iterable[Spec]) -> None:
    """Raise UserError, before any run starts, if a data set needs a data root and has none."""
    from bench.data.catalogue import find_data_set

    for spec in specs:
        if find_data_set(spec.data).needs_root and "data" not in spec.paths:
            raise UserError(
                f"{spec.data}: --data-root is missing; give --data-root DIR, the folder with the "
                "files of this data set (CIFAR is downloaded into DIR if it is not there)"
            )
