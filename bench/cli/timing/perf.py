"""`freezebench perf`: what the harness costs and what freezing saves, on this machine."""

from __future__ import annotations

import argparse
import importlib
import tempfile
from collections.abc import Iterable
from pathlib import Path

from bench.cli.arguments import add_results_argument
from bench.errors import UserError
from bench.options import make_unknown_error
from bench.perf.subjects import SUBJECTS
from bench.spec import PRECISIONS

HELP = "what the harness costs and what freezing saves on this machine, in ratios"
SECTIONS = ("startup", "step", "pipeline", "decide", "memory", "prefix", "realised")
ON_REQUEST = ("compiled",)  # takes minutes


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--only",
        default="",
        metavar="A,B",
        help=f"some sections: {', '.join(SECTIONS + ON_REQUEST)}",
    )
    parser.add_argument(
        "--models", default="", metavar="A,B", help=f"some models: {', '.join(SUBJECTS)}"
    )
    parser.add_argument(
        "--cases",
        default="",
        metavar="A,B",
        help="freeze states of memory and realised, as 'prefix 50%%,random 25%%'",
    )
    parser.add_argument(
        "--seconds", type=float, default=30.0, help="time for each thing that is measured"
    )
    parser.add_argument(
        "--resolution", type=int, default=64, help="pixels for the paper's models, where not 224"
    )
    parser.add_argument(
        "--precision", choices=PRECISIONS, default="float32", help="of forward and backward pass"
    )
    parser.add_argument("--channels-last", action="store_true", help="memory layout of images")
    parser.add_argument("--batch-size", type=int, default=32, help="samples a step")
    parser.add_argument(
        "--device", default="", help="cpu or cuda; default: cuda where there is one"
    )
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    add_results_argument(parser)


def main(args: argparse.Namespace) -> int:
    import torch

    from bench.perf.harness import CASES, PerfSettings
    from bench.perf.measurement import Measurement
    from bench.perf.report import format_measurement, write_measurements

    chosen = _parse_names(args.only, "--only: section", [*SECTIONS, *ON_REQUEST]) or SECTIONS
    models = _parse_names(args.models, "--models: model", SUBJECTS) or SUBJECTS
    if not args.seconds > 0:
        raise UserError(f"--seconds {args.seconds} is not valid; give a number above 0")
    device = args.device or ("cuda" if torch.cuda.is_available() else "cpu")
    figures: list[Measurement] = []
    with tempfile.TemporaryDirectory() as place:
        settings = PerfSettings(
            device,
            args.threads,
            args.resolution,
            args.batch_size,
            args.seconds,
            Path(place),
            models,
            _parse_names(args.cases, "--cases: freeze state", CASES),
            args.precision,
            args.channels_last,
        )
        for name in chosen:
            print(f"{name}:", flush=True)
            for one in importlib.import_module(f"bench.perf.sections.{name}").measure(settings):
                print(format_measurement(one), flush=True)
                figures.append(one)
                # What was measured is kept even if the rest is not waited for.
                written = write_measurements(figures, settings, args.results / "perf")
    if not figures:
        raise UserError(
            f"{', '.join(chosen)} measures nothing on {', '.join(models)}; see --models"
        )
    print(f"{written[0]}, {written[1]}")
    return 0


def _parse_names(text: str, what: str, known: Iterable[str]) -> list[str]:
    """The names in a list with commas, each of them known."""
    names = text.split(",") if text else []
    for name in names:
        if name not in known:
            raise make_unknown_error(what, name, list(known))
    return names
