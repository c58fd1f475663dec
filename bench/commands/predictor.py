"""`freezebench predictor`: train SmartFRZ's predictor, or say what one is."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench.commands.places import results_argument

if TYPE_CHECKING:
    from bench.spec import Spec

HELP = "train SmartFRZ's predictor from source tasks, or describe one"


def arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    train = actions.add_parser("train", help="references, labelled histories, training, scores")
    train.add_argument("--profile", default="laptop", help="whose source tasks are used")
    train.add_argument("--workers", type=int, default=0, help="local processes; 0 = as many as fit")
    train.add_argument(
        "--out", type=Path, default=None, metavar="FILE", help="where it goes; default: shipped"
    )
    results_argument(train)
    train.set_defaults(action=_train)
    info = actions.add_parser("info", help="size, cost and provenance of a predictor")
    info.add_argument("file", type=Path, nargs="?", default=None, help="default: the shipped one")
    info.add_argument("--profile", default="laptop", help="whose shipped predictor")
    info.set_defaults(action=_info)


def main(args: argparse.Namespace) -> int:
    return int(args.action(args) or 0)


def _train(args: argparse.Namespace) -> int:
    from bench.launch import launch
    from strategies.smartfrz.build import build

    def make(specs: Sequence[Spec], results: Path) -> None:
        if launch(specs, results, args.workers).stopped:
            raise KeyboardInterrupt

    build(args.profile, args.results, make, out=args.out)
    return 0


def _info(args: argparse.Namespace) -> int:
    from strategies.smartfrz.info import describe
    from strategies.smartfrz.strategy import SmartFRZ

    print(describe(args.file or SmartFRZ().files(args.profile)["predictor"]))
    return 0
