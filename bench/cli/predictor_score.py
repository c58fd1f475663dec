"""`freezebench predictor score`: score a trained predictor on runs that it was not trained on."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench.cli.arguments import (
    add_sweep_choice_arguments,
    add_workers_argument,
    check_data,
    resolve_sweep,
)
from bench.files import make_folder, write_atomically

if TYPE_CHECKING:
    from bench.spec import Spec


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "sweep",
        nargs="+",
        help="names of sweeps, or TOML files, whose runs use the strategy `record`; `targets` "
        "records the data sets of the tables",
    )
    add_sweep_choice_arguments(parser)
    add_workers_argument(parser.add_argument_group("execution"))
    parser.set_defaults(controls=False)


def score(args: argparse.Namespace) -> int:
    import pandas as pd
    import torch

    from bench.launch.launch import launch
    from strategies.smartfrz.predictor_file import load_predictor
    from strategies.smartfrz.strategy import SmartFRZ
    from strategies.smartfrz.studies.target_scores import (
        check_sweep,
        format_target_scores,
        score_recordings,
    )
    from strategies.smartfrz.training.source_runs import load_recordings

    sweep = resolve_sweep(args)
    shipped = SmartFRZ().files(sweep.profile["name"])["predictor"]
    trained = load_predictor(Path(args.predictor or shipped), torch.device("cpu"))
    check_sweep(sweep, trained)
    check_data(sweep.specs)
    out = args.results / "reports" / sweep.profile["name"] / "predictor"
    make_folder(out)

    def execute(specs: Sequence[Spec], results: Path) -> None:
        if launch(specs, results, args.workers).stopped:
            raise KeyboardInterrupt

    recordings = load_recordings(sweep, args.results, execute, trained.provenance["tailored"])
    entries = {entry.spec.id: entry for entry in sweep.entries}
    mine = [entries[recording.origin.run] for recording in recordings]
    rows = score_recordings(
        trained, recordings, [e.roles["model"] for e in mine], [e.spec.seed for e in mine]
    )
    write_atomically(out / f"score-{sweep.name}.csv", pd.DataFrame(rows).to_csv(index=False))
    print(format_target_scores(rows))
    return 0
