"""`freezebench predictor info`: print the size, cost and origin of a predictor."""

from __future__ import annotations

import argparse

from bench.cli.argument_types import parse_path
from bench.cli.arguments import add_profile_argument
from bench.cli.predictor.config import add_size_arguments, parse_config
from bench.errors import UserError

HELP = "print the size, cost and origin of a predictor"
EXAMPLE = "freezebench predictor info --window 30"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "file",
        type=parse_path,
        nargs="?",
        default=None,
        metavar="FILE",
        help="predictor file (default: the shipped one)",
    )
    add_profile_argument(parser)
    cost = parser.add_argument_group("cost of any predictor, without a file")
    add_size_arguments(cost, "feature set of a token (default: raw)")
    parser.set_defaults(data_root="")


def main(args: argparse.Namespace) -> int:
    from bench.planning.sweep_files import load_profile
    from strategies.smartfrz.describe import describe_cost, describe_predictor
    from strategies.smartfrz.strategy import SmartFRZ

    if args.features or args.window is not None or args.tailored is not None:
        if args.file:
            raise UserError("--window, --tailored and --features need no file; remove FILE")
        args.features = args.features or "raw"
        config = parse_config(args)
        print(describe_cost(config.features, config.training.window, config.tailored))
        return 0
    path = args.file or SmartFRZ().files(load_profile(args.profile)["name"])["predictor"]
    print(describe_predictor(path))
    return 0
