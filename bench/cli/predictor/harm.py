"""`freezebench predictor harm`: rank label rules by the accuracy that wrong freezes lose."""

from __future__ import annotations

import argparse

from bench.cli.arguments import collect_files
from bench.cli.predictor.sources import add_source_arguments, make_launch

HELP = "rank labelling rules by how well they predict what freezing does to accuracy"
EXAMPLE = "freezebench predictor harm --workers 2"


def arguments(parser: argparse.ArgumentParser) -> None:
    add_source_arguments(parser)


def main(args: argparse.Namespace) -> int:
    from bench.planning.sweep import load_sweep
    from strategies.smartfrz.studies.label_study import (
        format_ranking,
        list_needed,
        rank_rules,
        read_curves,
        read_harmed,
        select_recorded,
    )
    from strategies.smartfrz.training.source_runs import load_source_sweep, refuse_targets

    files = collect_files(args)
    sources = load_source_sweep(args.profile, files)
    changes = {"evaluate_on": "validation"}
    sweep = load_sweep("harm", args.profile, files=files, changes=changes)
    refuse_targets(sweep)
    recorded = select_recorded(sweep, sources)
    needed = list_needed(recorded.values(), sources)
    make_launch(args)([*needed, *sweep.specs], args.results)
    rows = rank_rules(read_harmed(sweep, args.results), read_curves(recorded, args.results))
    print(format_ranking(rows))
    return 0
