"""`freezebench predictor score`: score a trained predictor on runs that it was not trained on."""

from __future__ import annotations

import argparse

from bench.cli.arguments import add_workers_argument
from bench.cli.predictor.sources import make_launch
from bench.cli.sweep_arguments import add_sweep_choice_arguments, check_data, resolve_sweep
from bench.files import expand_home, make_folder, write_atomically

HELP = "score a predictor on recorded runs of other data, such as that of the tables"
EXAMPLE = "freezebench predictor score targets --profile desk --data-root data"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "sweep",
        nargs="+",
        help="names of sweeps, or TOML files, whose runs use the strategy `record`; `targets` "
        "records the data sets of the tables",
    )
    add_sweep_choice_arguments(parser)
    add_workers_argument(parser.add_argument_group("execution"))
    parser.set_defaults(controls=False)


def main(args: argparse.Namespace) -> int:
    import pandas as pd
    import torch

    from strategies.smartfrz.predictor_file import load_predictor
    from strategies.smartfrz.strategy import SmartFRZ
    from strategies.smartfrz.studies.target_scores import (
        check_sweep,
        format_target_scores,
        score_recordings,
    )
    from strategies.smartfrz.training.source_runs import load_recordings

    # This command reads the predictor; the runs only record.
    sweep = resolve_sweep(argparse.Namespace(**{**vars(args), "predictor": ""}))
    shipped = SmartFRZ().files(sweep.profile["name"])["predictor"]
    path = expand_home(args.predictor or shipped)
    trained = load_predictor(path, torch.device("cpu"))
    check_sweep(sweep, trained)
    check_data(sweep.specs)
    out = args.results / "reports" / sweep.profile["name"] / "predictor"
    make_folder(out)
    tailored = trained.provenance["tailored"]
    recordings = load_recordings(sweep, args.results, make_launch(args), tailored)
    entries = {entry.spec.id: entry for entry in sweep.entries}
    mine = [entries[recording.origin.run] for recording in recordings]
    rows = score_recordings(
        trained, recordings, [e.roles["model"] for e in mine], [e.spec.seed for e in mine]
    )
    print(format_target_scores(rows))
    file = out / f"score-{sweep.name}-{path.stem}.csv"
    write_atomically(file, pd.DataFrame(rows).to_csv(index=False))
    print(f"scores of each run: {file}")
    return 0
