"""`freezebench perf`: overhead of the harness and time saved by freezing, on this machine."""

from __future__ import annotations

import argparse
import importlib
import tempfile
from collections.abc import Iterable
from pathlib import Path

from bench.cli.argument_types import parse_positive_int, parse_seconds
from bench.cli.arguments import add_results_argument
from bench.errors import UserError
from bench.options import make_unknown_error
from bench.perf.subjects import SUBJECTS
from bench.spec import PRECISIONS

HELP = "measure the overhead of the harness and the time that freezing saves, as ratios"
EXAMPLE = "freezebench perf --only step,realised --models resnet50 --seconds 20"
SECTIONS = ("startup", "step", "pipeline", "decide", "memory", "prefix", "realised")
ON_REQUEST = ("compiled",)  # takes minutes


def arguments(parser: argparse.ArgumentParser) -> None:
    chosen = parser.add_argument_group("measurements")
    chosen.add_argument(
        "--only",
        default="",
        metavar="A,B",
        help=f"sections: {', '.join(SECTIONS + ON_REQUEST)} (default: all but {ON_REQUEST[0]})",
    )
    chosen.add_argument(
        "--models",
        default="",
        metavar="A,B",
        help=f"models: {', '.join(SUBJECTS)} (default: all)",
    )
    chosen.add_argument(
        "--cases",
        default="",
        metavar="A,B",
        help="freeze states of the sections memory and realised, for example "
        "'prefix 50%%,random 25%%' (default: all)",
    )
    conditions = parser.add_argument_group("conditions")
    conditions.add_argument(
        "--seconds",
        type=parse_seconds,
        default=30.0,
        metavar="FLOAT",
        help="time of one measurement",
    )
    conditions.add_argument(
        "--resolution",
        type=parse_positive_int,
        default=64,
        metavar="INT",
        help="side of the input of the paper's models in pixels",
    )
    conditions.add_argument(
        "--precision",
        choices=PRECISIONS,
        default="float32",
        help="precision of forward and backward",
    )
    conditions.add_argument(
        "--channels-last", action="store_true", help="store images in channels-last memory format"
    )
    conditions.add_argument(
        "--batch-size", type=parse_positive_int, default=32, metavar="INT", help="samples per step"
    )
    conditions.add_argument(
        "--device",
        default="",
        choices=("cpu", "cuda"),
        help="device (default: cuda if there is a GPU, else cpu)",
    )
    conditions.add_argument(
        "--threads", type=parse_positive_int, default=1, metavar="INT", help="CPU threads"
    )
    add_results_argument(conditions)


def main(args: argparse.Namespace) -> int:
    import torch

    from bench.perf.harness import CASES, PerfSettings
    from bench.perf.measurement import Measurement
    from bench.perf.report import (
        format_measurement,
        hold_folder,
        move_earlier_files,
        write_measurements,
    )

    chosen = _parse_names(args.only, "--only: section", [*SECTIONS, *ON_REQUEST]) or SECTIONS
    models = _parse_names(args.models, "--models: model", SUBJECTS) or SUBJECTS
    cases = _parse_names(args.cases, "--cases: freeze state", CASES)
    device = args.device or ("cuda" if torch.cuda.is_available() else "cpu")
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda is not available here; use --device cpu")
    values: list[Measurement] = []
    with hold_folder(args.results) as folder, tempfile.TemporaryDirectory() as place:
        settings = PerfSettings(
            device,
            args.threads,
            args.resolution,
            args.batch_size,
            args.seconds,
            Path(place),
            models,
            cases,
            args.precision,
            args.channels_last,
        )
        for name in chosen:
            print(f"{name}:", flush=True)
            for one in importlib.import_module(f"bench.perf.sections.{name}").measure(settings):
                print(format_measurement(one), flush=True)
                if not values:
                    move_earlier_files(folder)
                values.append(one)
                # Write after each value, so that Ctrl-C keeps those measured so far.
                written = write_measurements(values, settings, folder)
    if not values:
        raise UserError(
            f"no measurement of {', '.join(chosen)} uses {', '.join(models)}; leave out --models"
        )
    print(f"{written[0]}, {written[1]}")
    return 0


def _parse_names(text: str, what: str, known: Iterable[str]) -> list[str]:
    """Return the names of a comma-separated list. Raise UserError for an unknown name."""
    names = text.split(",") if text else []
    for name in names:
        if name not in known:
            raise make_unknown_error(what, name, list(known))
    return names
