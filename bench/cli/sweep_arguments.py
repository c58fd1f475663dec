"""Command-line arguments that select the runs of sweeps, and the sweep that they select."""

from __future__ import annotations

import argparse
import atexit
import gc
from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from bench.cli.argument_types import parse_positive_int
from bench.cli.arguments import (
    add_field_arguments,
    add_file_arguments,
    add_profile_argument,
    add_results_argument,
    collect_fields,
    collect_files,
)
from bench.errors import UserError
from bench.files import expand_home
from bench.options import make_unknown_error

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
    """Return the sweep that the arguments name. Several sweeps are joined into one sweep.

    Raises UserError if no run of the sweep reads a file that the user named.
    """
    sweep = load_sweeps(args, args.sweep)
    check_sweep_files(args, [sweep])
    return sweep


def load_sweeps(args: argparse.Namespace, names: Iterable[str]) -> Sweep:
    """Return some sweeps, joined into one, with the options of the command."""
    files = collect_sweep_files(args)
    # Nothing loaded here becomes garbage, and garbage collection would take a third of the time.
    gc.disable()
    try:
        from bench.planning.sweep import join_sweeps, load_sweep
        from bench.planning.sweep_files import list_tables

        chosen = [name for n in names for name in (list_tables() if n == ALL else [n])]
        load = partial(
            load_sweep,
            profile_name=args.profile,
            controls=args.controls,
            seeds=args.seeds,
            files=files,
            changes=collect_fields(args),
        )
        sweep = join_sweeps([load(name) for name in dict.fromkeys(chosen)])
        gc.freeze()
        atexit.register(gc.unfreeze)  # some libraries report frozen objects as leaks at exit
    finally:
        gc.enable()
    return sweep


def check_sweep_files(args: argparse.Namespace, sweeps: Sequence[Sweep]) -> None:
    """Raise UserError if no run of some sweeps reads a file that the user named.

    Weights of a role of the profile that is not in the sweeps are accepted.
    """
    from bench.planning.run_inputs import check_files_used, select_read_files

    files = collect_sweep_files(args)
    specs = [spec for sweep in sweeps for spec in sweep.specs]
    check_files_used(files, specs)
    models = {entry.roles["model"] for sweep in sweeps for entry in sweep.entries}
    roles = {*sweeps[0].profile["models"], *models}
    read = select_read_files(files, specs)
    for kind, file in files.items():
        role = kind.removeprefix("weights:")
        if role == kind:
            continue
        if role not in roles:
            raise make_unknown_error("--weights: role", role, sorted(roles))
        if role in models and kind not in read:
            name = " and ".join(sweep.name for sweep in sweeps)
            raise UserError(
                f"--weights {role}={file}: has no effect, because no run of {name} starts from "
                "this file; omit it"
            )


def check_data(specs: Iterable[Spec]) -> None:
    """Raise UserError, before any run starts, if a data set needs a data root and has none."""
    from bench.data.catalogue import find_data_set

    for spec in specs:
        if find_data_set(spec.data).needs_root and "data" not in spec.paths:
            raise UserError(
                f"{spec.data}: --data-root is missing; give --data-root DIR, the folder with the "
                "files of this data set (CIFAR is downloaded into DIR if it is not there)"
            )
