"""Source runs of `freezebench predictor`: their options, their launch and their recordings."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.cli.arguments import (
    add_data_root_argument,
    add_profile_argument,
    add_results_argument,
    add_workers_argument,
)
from bench.cli.predictor.config import parse_config

if TYPE_CHECKING:
    from bench.spec import Spec
    from strategies.smartfrz.training.corpus import Recording


def add_source_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that select the source tasks and execute their runs."""
    source = parser.add_argument_group("source runs")
    add_profile_argument(source)
    add_workers_argument(source)
    add_data_root_argument(source)
    add_results_argument(source)


def make_launch(args: argparse.Namespace) -> Callable[[Sequence[Spec], Path], Any]:
    """Return the function that executes the missing runs of a list of specs."""
    from bench.launch.launch import launch_all

    return partial(launch_all, workers=args.workers)


def collect_recordings(args: argparse.Namespace) -> list[Recording]:
    """Launch the missing source runs and return the recordings of all source runs."""
    from strategies.smartfrz.training.source_runs import (
        load_recordings,
        load_source_sweep,
        refuse_long_rule,
    )

    config = parse_config(args)
    sweep = load_source_sweep(args.profile, config.files)
    refuse_long_rule(sweep, config.rule)
    return load_recordings(sweep, args.results, make_launch(args), config.tailored)
