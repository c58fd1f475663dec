"""Configuration of a predictor to train: its options, and the values that the user gave."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bench.cli.arguments import collect_files
from bench.errors import UserError
from bench.options import Choice, Integer, Option, Real, check_options, make_unknown_error

if TYPE_CHECKING:
    from strategies.smartfrz.training.train_predictor import PredictorConfig

FEATURES_HELP = "feature set of a token (default: as in the shipped predictor)"
WINDOW, TAILORED = 30, 1024

# The defaults are those of the shipped predictor, and a test compares them with it. The options
# have the names of the fields of PredictorTraining (TRAINING), of Rule (LABELS) and of
# PredictorConfig (SETTINGS). Only the option `rule` sets a field of another name, Rule.kind.
TRAINING: dict[str, Option] = {
    "optimizer": Choice("adamw", choices=("adamw", "sgd"), doc="optimizer; sgd has momentum 0.9"),
    "lr": Real(1e-3, low=1e-12, high=1e6, doc="learning rate; with one_cycle, its maximum"),
    "weight_decay": Real(0.05, low=0, high=1e6, doc="weight decay"),
    "schedule": Choice(
        "one_cycle", choices=("one_cycle", "constant"), doc="schedule of the learning rate"
    ),
    "clip": Real(1.0, low=0, high=1e12, doc="gradient clipping norm; 0: no clipping"),
    "standardise": Choice("yes", choices=("yes", "no"), doc="standardise the tokens"),
    "batch": Integer(16, low=1, doc="layers' histories per step"),
    "epochs": Integer(6, low=1, doc="passes over the histories"),
}
LABELS: dict[str, Option] = {
    "rule": Choice(
        "stable",
        choices=("stable", "settled"),
        doc="which CKA values must agree; stable: the last k; settled: this and all later ones",
    ),
    "k": Integer(4, low=2, high=10_000, doc="number of CKA values for --rule stable"),
    "epsilon": Real(0.01, low=1e-12, high=2, doc="limit on the CKA range of a converged layer"),
    "smooth": Integer(1, low=1, high=10_000, doc="length of the moving average; 1: none"),
    "estimator": Choice(
        "unbiased",
        choices=("unbiased", "biased"),
        doc="estimator of CKA; unbiased: HSIC₁; biased: eq. 5 of the paper",
    ),
    "every": Integer(1, low=1, high=10_000, doc="use every n-th CKA value; 2: one per epoch"),
}
SETTINGS: dict[str, Option] = {
    "unlabelled_share": Real(
        0.1, low=0, high=1, doc="fraction of a run, from its start, without labels"
    ),
    "decision": Choice(
        "calibrated",
        choices=("calibrated", "argmax"),
        doc="threshold on P(freeze) that the file gets; argmax: 0.5",
    ),
}
OPTIONS = {**TRAINING, **LABELS, **SETTINGS}


def add_size_arguments(parser: argparse._ActionsContainer, features: str) -> None:
    """Add --features and the options for the sizes of a predictor.

    features: help text of --features.
    """
    parser.add_argument("--features", default="", metavar="NAME", help=features)
    for name, text in (
        ("--window", f"window W in snapshots (default: {WINDOW})"),
        ("--tailored", f"tailored weights n per layer (default: {TAILORED})"),
    ):
        parser.add_argument(name, type=int, default=None, metavar="INT", help=text)


def add_training_arguments(parser: argparse.ArgumentParser) -> None:
    """Add --as-published, and the options of the training and of the labels."""
    parser.add_argument(
        "--as-published",
        action="store_true",
        help="use the settings of the SmartFRZ paper as defaults, the features included",
    )
    for title, options in (
        ("training", TRAINING),
        ("labels and decision", {**LABELS, **SETTINGS}),
    ):
        group = parser.add_argument_group(title)
        for name, option in options.items():
            kind = "WORD" if isinstance(option, Choice) else "NUMBER"
            valid = f" ({option.describe_valid()})" if isinstance(option, Choice) else ""
            text = f"{option.doc}{valid} (default: {option.default})".replace("%", "%%")
            flag = f"--{name.replace('_', '-')}"
            group.add_argument(flag, dest=f"train_{name}", default=None, metavar=kind, help=text)


def list_given(args: argparse.Namespace) -> dict[str, Any]:
    """Return the text of each of the OPTIONS that the user gave, by option name."""
    given = {name: getattr(args, f"train_{name}", None) for name in OPTIONS}
    return {name: value for name, value in given.items() if value is not None}


def parse_config(args: argparse.Namespace) -> PredictorConfig:
    """Return the configuration that the arguments select. Raise UserError for an invalid value."""
    from strategies.smartfrz.features import FEATURES
    from strategies.smartfrz.strategy import SmartFRZ
    from strategies.smartfrz.training.train_predictor import AS_PUBLISHED, PredictorConfig

    base = AS_PUBLISHED if getattr(args, "as_published", False) else PredictorConfig()
    features = args.features or base.features
    if features not in FEATURES:
        raise make_unknown_error("--features", features, FEATURES)
    window = WINDOW if args.window is None else args.window
    tailored = TAILORED if args.tailored is None else args.tailored
    for name, value in (("window", window), ("tailored", tailored)):
        option = SmartFRZ.options[name]  # the strategy refuses files with other sizes
        try:
            option.accept(value)
        except ValueError:
            valid = option.describe_valid()
            raise UserError(f"--{name} {value} is not valid; give {valid}") from None
    given = _read_given(args)
    return replace(
        base,
        profile=args.profile,
        features=features,
        tailored=tailored,
        files=collect_files(args),
        training=replace(base.training, window=window, **_select(given, TRAINING)),
        rule=replace(base.rule, **_select(given, LABELS)),
        **_select(given, SETTINGS),
    )


def _read_given(args: argparse.Namespace) -> dict[str, Any]:
    """Return the values of the OPTIONS that the user gave. Raise UserError for an invalid value."""
    given = list_given(args)
    checked = check_options("predictor", OPTIONS, given)
    values = {name: checked[name] for name in given}
    if "standardise" in values:
        values["standardise"] = values["standardise"] == "yes"
    return values


def _select(given: dict[str, Any], options: dict[str, Option]) -> dict[str, Any]:
    """Return the given values of some options, by the name of the field that an option sets."""
    return {
        "kind" if name == "rule" else name: value
        for name, value in given.items()
        if name in options
    }
