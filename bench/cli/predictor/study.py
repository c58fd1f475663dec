"""`freezebench predictor study`: compare feature sets and label rules on held-out source runs."""

from __future__ import annotations

import argparse

from bench.cli.predictor.config import add_size_arguments, parse_config
from bench.cli.predictor.sources import add_source_arguments, collect_recordings

HELP = "compare all feature sets and labelling rules"
EXAMPLE = "freezebench predictor study --features raw"


def arguments(parser: argparse.ArgumentParser) -> None:
    add_source_arguments(parser)
    add_size_arguments(parser, "feature set (default: all)")


def main(args: argparse.Namespace) -> int:
    from strategies.smartfrz.features import FEATURES
    from strategies.smartfrz.studies.feature_study import run_study

    config = parse_config(args)
    kept = args.results / "reports" / config.profile_name / "predictor" / "study.csv"
    features = [args.features] if args.features else list(FEATURES)
    recordings = collect_recordings(args)
    run_study(recordings, config.training, config.unlabelled_share, kept, features)
    print(kept.read_text())
    return 0
