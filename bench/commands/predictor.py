"""`freezebench predictor`: train SmartFRZ's predictor, score it, or say what one is."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from bench.commands.places import results_argument
from bench.errors import UserError
from bench.options import unknown

if TYPE_CHECKING:
    from bench.spec import Spec
    from strategies.smartfrz.build import Choice

HELP = "train SmartFRZ's predictor from source tasks, score it, or describe one"


def arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    train = actions.add_parser("train", help="references, labelled histories, training, scores")
    _corpus_arguments(train)
    train.add_argument(
        "--out", type=Path, default=None, metavar="FILE", help="where it goes; default: shipped"
    )
    train.add_argument(
        "--without-family", default="", metavar="NAME", help="leave out one family of models"
    )
    train.set_defaults(action=_train)
    info = actions.add_parser("info", help="size, cost and provenance of a predictor")
    info.add_argument("file", type=Path, nargs="?", default=None, help="default: the shipped one")
    info.add_argument("--profile", default="laptop", help="whose shipped predictor")
    info.set_defaults(action=_info)


def main(args: argparse.Namespace) -> int:
    return int(args.action(args) or 0)


def _corpus_arguments(parser: argparse.ArgumentParser) -> None:
    """Which runs a predictor learns from, and what it is shown of them."""
    parser.add_argument("--profile", default="laptop", help="whose source tasks are used")
    parser.add_argument(
        "--workers", type=int, default=0, help="local processes; 0 = as many as fit"
    )
    parser.add_argument("--features", default="", help="what a token holds; default: as shipped")
    parser.add_argument("--window", type=int, default=30, help="W, snapshots it looks at")
    parser.add_argument("--tailored", type=int, default=1024, help="n, weights a layer")
    results_argument(parser)


def _make(args: argparse.Namespace, specs: Sequence[Spec], results: Path) -> None:
    from bench.launch import launch

    if launch(specs, results, args.workers).stopped:
        raise KeyboardInterrupt


def _train(args: argparse.Namespace) -> int:
    from strategies.smartfrz.build import build

    build(
        _choice(args),
        args.results,
        partial(_make, args),
        out=args.out,
        without_family=args.without_family,
    )
    return 0


def _choice(args: argparse.Namespace) -> Choice:
    """What the arguments ask for; raises UserError for a feature set that does not exist."""
    from strategies.smartfrz.build import RECIPE, Choice
    from strategies.smartfrz.features import FEATURES
    from strategies.smartfrz.shipped import DEFAULT_FEATURES

    features = args.features or DEFAULT_FEATURES
    if features not in FEATURES:
        raise unknown("--features", features, FEATURES)
    for name, value, low in (("window", args.window, 2), ("tailored", args.tailored, 8)):
        if value < low:
            raise UserError(f"--{name} {value} is not valid; give a number from {low}")
    recipe = replace(RECIPE, window=args.window)
    return Choice(args.profile, features, args.tailored, recipe)


def _info(args: argparse.Namespace) -> int:
    from strategies.smartfrz.info import describe
    from strategies.smartfrz.strategy import SmartFRZ

    print(describe(args.file or SmartFRZ().files(args.profile)["predictor"]))
    return 0
