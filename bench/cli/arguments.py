"""Arguments that several commands share: where results and files lie, which sweep is meant."""

from __future__ import annotations

import argparse
import atexit
import gc
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import UserError
from bench.options import make_unknown_error
from bench.spec import FIELDS

if TYPE_CHECKING:
    from bench.planning.sweep import Sweep
    from bench.spec import Spec

ALL = "all"

# Fields that sweeps and profiles decide; the rest can be changed for a whole sweep.
CHANGEABLE = (
    "epochs",
    "evaluate_on",
    "train_limit",
    "device",
    "precision",
    "resolution",
    "threads",
    "replicas",
    "data_workers",
    "channels_last",
    "cache_prefix",
    "fold_norms",
    "compiled",
)


def add_results_argument(parser: argparse.ArgumentParser) -> None:
    """--results DIR."""
    parser.add_argument(
        "--results",
        type=Path,
        default=Path(os.environ.get("FREEZEBENCH_RESULTS", "results")),
        help="folder of runs and reports",
    )


def add_file_arguments(parser: argparse.ArgumentParser) -> None:
    """--data-root and --predictor."""
    parser.add_argument("--data-root", default="", metavar="DIR", help="where data sets lie")
    parser.add_argument(
        "--vocab", default="", metavar="FILE", help="BERT's vocab.txt; else beside its weights"
    )
    parser.add_argument(
        "--predictor", default="", metavar="FILE", help="a SmartFRZ predictor (safetensors)"
    )


def collect_files(args: argparse.Namespace) -> dict[str, str]:
    """The files the user named, by what they are."""
    named = {"data": args.data_root, "vocab": args.vocab, "predictor": args.predictor}
    named["weights"] = getattr(args, "weights_file", "")
    for what, path in named.items():
        if path and not Path(path).expanduser().exists():
            raise UserError(f"{what}: {path} does not exist; check the path")
    return {what: path for what, path in named.items() if path}


def add_field_arguments(parser: argparse.ArgumentParser, names: tuple[str, ...]) -> None:
    """A --option for each field of a run; those not given stay None."""
    for name in names:
        option = FIELDS[name]
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            dest=f"field_{name}",
            metavar="X",
            default=None,
            help=f"{option.doc} ({option.describe_valid()})",
        )


def collect_fields(args: argparse.Namespace) -> dict[str, Any]:
    """The run's fields given on the command line."""
    return {
        key.removeprefix("field_"): value
        for key, value in vars(args).items()
        if key.startswith("field_") and value is not None
    }


def add_sweep_arguments(parser: argparse.ArgumentParser, number: str = "+") -> None:
    """Which sweeps, for which profile, with which changes.

    number: "+", or "*" for commands that take no name for all of them.
    """
    given = " (if none is given)" if number == "*" else ""
    parser.add_argument(
        "sweep",
        nargs=number,
        default=[ALL],
        help=f"sweeps by name or TOML files; {ALL}: those of all tables and of the curves{given}",
    )
    add_setting_arguments(parser)


def add_setting_arguments(parser: argparse.ArgumentParser) -> None:
    """For which profile, with which changes."""
    parser.add_argument("--profile", default="laptop", help="a profile by name or a TOML file")
    parser.add_argument("--controls", action="store_true", help="with the sweep's controls")
    parser.add_argument("--seeds", type=int, default=0, help="how many seeds; 0 = the sweep's own")
    add_file_arguments(parser)
    parser.add_argument(
        "--weights",
        action="append",
        default=[],
        metavar="ROLE=FILE",
        help="safetensors file a model starts from, as resnet50=FILE; may be given several times",
    )
    add_field_arguments(parser, CHANGEABLE)
    add_results_argument(parser)


def resolve_sweep(args: argparse.Namespace) -> Sweep:
    """The sweep that the arguments mean; several are joined into one."""
    if args.seeds < 0:
        raise UserError(f"--seeds {args.seeds} is not valid; give a number from 1")
    files = collect_files(args)
    for pair in args.weights:
        role, equals, file = pair.partition("=")
        if not equals or not Path(file).expanduser().is_file():
            raise UserError(f"--weights {pair}: give ROLE=FILE with a file that exists")
        files[f"weights:{role}"] = file
    # Nothing of what is loaded here becomes garbage; looking for it takes a third of the time.
    gc.disable()
    try:
        from bench.planning.sweep import join_sweeps, load_sweep
        from bench.planning.sweep_files import list_tables

        given = [name for n in args.sweep for name in (list_tables() if n == ALL else [n])]
        sweep = join_sweeps(
            [
                load_sweep(
                    name,
                    args.profile,
                    controls=args.controls,
                    seeds=args.seeds or None,
                    files=files,
                    changes=collect_fields(args),
                )
                for name in dict.fromkeys(given)
            ]
        )
        gc.freeze()
        _check_roles(args.weights, sweep)
        atexit.register(gc.unfreeze)  # what stays frozen to the end some libraries report as leaks
    finally:
        gc.enable()
    return sweep


def _check_roles(pairs: Iterable[str], sweep: Sweep) -> None:
    """Raise UserError for weights of a role that neither the profile nor the sweep knows."""
    roles = {*sweep.profile["models"], *(entry.roles["model"] for entry in sweep.entries)}
    for pair in pairs:
        role = pair.partition("=")[0]
        if role not in roles:
            raise make_unknown_error("--weights: role", role, sorted(roles))


def add_workers_argument(parser: argparse.ArgumentParser) -> None:
    """--workers N."""
    parser.add_argument(
        "--workers",
        type=_parse_count,
        default=0,
        metavar="N",
        help="local processes; 0 = as many as fit",
    )


def _parse_count(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text} is not valid; give 0 or more")
    return int(text)


def add_out_argument(parser: argparse.ArgumentParser) -> None:
    """--out DIR."""
    parser.add_argument(
        "--out", type=Path, default=None, metavar="DIR",
        help="folder for the reports, with one in it for each profile (default: reports in that of "
        "the results)",
    )  # fmt: skip


def require_results(args: argparse.Namespace) -> Path:
    """The results folder; raises UserError if there is none, a name mistyped for one."""
    results: Path = args.results
    if not results.is_dir():
        raise UserError(
            f"--results {results}: there is no such folder; make runs with `freezebench sweep`"
        )
    return results


def check_data(specs: Iterable[Spec]) -> None:
    """Raise UserError before anything starts if a data set needs a folder that is not named."""
    from bench.data.catalogue import find_data_set

    for spec in specs:
        if find_data_set(spec.data).needs_root and "data" not in spec.paths:
            raise UserError(f"{spec.data}: give --data-root DIR, where its files lie or shall go")
