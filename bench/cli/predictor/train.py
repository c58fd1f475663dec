"""`freezebench predictor train`: train a predictor on the source tasks and write its file."""

from __future__ import annotations

import argparse

from bench.cli.argument_types import parse_path
from bench.cli.predictor.config import (
    FEATURES_HELP,
    add_size_arguments,
    add_training_arguments,
    list_given,
    parse_config,
)
from bench.cli.predictor.sources import add_source_arguments, make_launch
from bench.errors import UserError

HELP = "execute the source runs, label their histories, and train and score a predictor"
EXAMPLE = "freezebench predictor train --window 30 --out mine.safetensors"


def arguments(parser: argparse.ArgumentParser) -> None:
    add_source_arguments(parser)
    add_size_arguments(parser, FEATURES_HELP)
    parser.add_argument(
        "--out",
        type=parse_path,
        default=None,
        metavar="FILE",
        help="output file (default: the shipped predictor is replaced)",
    )
    add_training_arguments(parser)
    parser.add_argument(
        "--without-family",
        default="",
        metavar="NAME",
        help="family of models to leave out of the source runs (default: none)",
    )
    parser.add_argument(
        "--all",
        action="store_true",
        help="train all shipped predictors: also the windows and sizes of Tables 4 and 5",
    )
    parser.add_argument(
        "--shipped",
        action="store_true",
        help="train the two shipped predictors of usual size: the default and --as-published",
    )


def main(args: argparse.Namespace) -> int:
    from strategies.smartfrz.training.train_predictor import build_predictor, list_variants

    several = "--all" if args.all else "--shipped" if args.shipped else ""
    changed = [f"--{name.replace('_', '-')}" for name in list_given(args)]
    if several and (args.out or args.without_family or args.as_published):
        raise UserError(
            f"{several} writes the shipped files; remove --out, --without-family and --as-published"
        )
    sizes = [f"--{name}" for name in ("features", "window", "tailored") if getattr(args, name)]
    if several and sizes:
        raise UserError(f"{several} trains predictors of given sizes; remove {', '.join(sizes)}")
    if changed and not args.out:
        raise UserError(
            f"{', '.join(changed)}: a predictor trained in another way does not replace the "
            "shipped one; give --out FILE"
        )
    configs = [first := parse_config(args)]
    if several:
        args.as_published, args.features = True, ""
        configs.append(parse_config(args))
    for config in [*configs, *(list_variants(first) if args.all else [])]:
        build_predictor(
            config,
            args.results,
            make_launch(args),
            out=args.out,
            without_family=args.without_family,
        )
    return 0
