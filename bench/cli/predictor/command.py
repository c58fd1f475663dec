"""`freezebench predictor`: train, evaluate or describe SmartFRZ's predictor."""

from __future__ import annotations

import argparse

from bench.cli.help import add_command
from bench.cli.predictor import evaluate, harm, info, score, study, train

HELP = "train SmartFRZ's predictor on source tasks, evaluate it, or describe a predictor file"
EXAMPLE = "freezebench predictor info"

ACTIONS = {
    "train": train,
    "evaluate": evaluate,
    "score": score,
    "study": study,
    "harm": harm,
    "info": info,
}


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(action=lambda _: parser.print_help())
    actions = parser.add_subparsers(title="actions", metavar="ACTION")
    for name, module in ACTIONS.items():
        sub = add_command(actions, name, module.HELP, module.EXAMPLE)
        sub.set_defaults(action=module.main)
        module.arguments(sub)


def main(args: argparse.Namespace) -> int:
    return int(args.action(args) or 0)
