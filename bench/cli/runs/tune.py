"""`freezebench tune`: search of lr, warm-up and weight decay on validation data."""

from __future__ import annotations

import argparse

from bench.cli.argument_types import parse_positive_int
from bench.cli.arguments import (
    add_data_root_argument,
    add_field_arguments,
    add_profile_argument,
    add_results_argument,
    add_vocab_argument,
    add_workers_argument,
    collect_fields,
)
from bench.cli.sweep_arguments import (
    CHANGEABLE,
    add_role_weights_argument,
    check_data,
    check_sweep_files,
    collect_sweep_files,
)
from bench.errors import UserError

# Changeable fields on which the best learning rate and weight decay can depend.
OF_THE_TRAINING = ("epochs", "train_limit", "resolution", "normalisation", "precision")
HELP = "search learning rate, warm-up and weight decay on validation data"
EXAMPLE = "freezebench tune vgg11 cifar10 --lr 0.01,0.04 --warmup 0 --epochs 2 --train-limit 256"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="model of the profile, by role")
    parser.add_argument("dataset", help="data set of the profile, by role")
    grid = parser.add_argument_group(
        "grid", "Every combination is used for full training and for the control `prefix`."
    )
    for name, text in (
        ("--lr", "learning rates (default: 0.1, 0.3, 1 and 3 times that of the profile)"),
        ("--warmup", "shares of the steps for warm-up (default: 0 and 0.1)"),
        (
            "--weight-decay",
            "weight decays (default: 1 and 10 times that of the profile, or 0 and 1e-4 if it is 0)",
        ),
    ):
        grid.add_argument(name, type=_parse_list, default=(), metavar="A,B,…", help=text)
    grid.add_argument(
        "--saving",
        type=float,
        default=0.3,
        metavar="FLOAT",
        help="share of FLOPs that prefix saves",
    )
    grid.add_argument(
        "--seeds", type=parse_positive_int, default=1, metavar="INT", help="number of seeds"
    )
    add_profile_argument(grid)
    grid.add_argument(
        "--setting", default="", metavar="NAME", help="setting of the profile (default: none)"
    )
    files = parser.add_argument_group("files")
    add_results_argument(files)
    add_data_root_argument(files)
    add_vocab_argument(files)
    add_role_weights_argument(files)
    add_workers_argument(parser.add_argument_group("execution"))
    changes = parser.add_argument_group(
        "settings of the runs", "These options replace values of the profile."
    )
    fields = tuple(name for name in CHANGEABLE if name != "evaluate_on")  # always validation
    add_field_arguments(changes, fields, default="unchanged")


def main(args: argparse.Namespace) -> int:
    from bench.cli.runs.plan import describe_plan
    from bench.launch.launch import launch
    from bench.planning.missing_weights import select_executable_runs
    from bench.planning.plan import make_plan
    from bench.planning.tuning import TuningGrid, make_tuning_sweep
    from bench.spec import FULL
    from reports.comparison.tuning_table import (
        build_tuning_table,
        format_profile_lines,
        read_tuning_rows,
    )
    from reports.document.terminal import format_text

    files = collect_sweep_files(args)
    sweep = make_tuning_sweep(
        args.model,
        args.dataset,
        args.profile,
        TuningGrid(args.lr, args.warmup, args.weight_decay),
        saving=args.saving,
        seeds=args.seeds,
        setting=args.setting,
        files=files,
        changes=collect_fields(args),
    )
    check_sweep_files(args, [sweep])
    check_data(sweep.specs)
    plan = make_plan(sweep.specs, args.results)
    print(describe_plan(sweep, plan, args.results, args.workers), flush=True)
    specs, missing = select_executable_runs(sweep, plan)
    if missing:
        raise UserError(missing[0])
    outcome = launch(specs, args.results, args.workers)
    if outcome.stopped:
        print("stopped; the same command continues from here")
        return 130
    rows = read_tuning_rows([entry.spec for entry in sweep.entries], args.results)
    print(format_text(build_tuning_table(rows, sweep.title)))
    lines = format_profile_lines(rows, f"{args.model}/{args.dataset}", FULL, args.setting)
    print(
        "Best values of full training, as lines for the profile. If the profile has this section, "
        "set only these three keys in it. Other keys of the section, such as epochs, must stay:\n"
    )
    print(lines)
    if used := {k: v for k, v in collect_fields(args).items() if k in OF_THE_TRAINING}:
        words = ", ".join(f"{name} = {value}" for name, value in used.items())
        print(f"\nThe search used {words}. With other values of these, the best may differ.")
    return 1 if outcome.failed else 0


def _parse_list(text: str) -> tuple[float, ...]:
    """Return the numbers of a list that is separated by commas."""
    try:
        return tuple(float(word) for word in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text} is not valid; give numbers separated by commas"
        ) from None
