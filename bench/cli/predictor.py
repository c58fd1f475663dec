"""`freezebench predictor`: train, evaluate or describe SmartFRZ's predictor."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from bench.cli import predictor_score
from bench.cli.argument_types import parse_path
from bench.cli.arguments import (
    add_data_root_argument,
    add_profile_argument,
    add_results_argument,
    add_workers_argument,
)
from bench.cli.help import add_command
from bench.cli.predictor_choice import (
    add_size_arguments,
    add_training_arguments,
    collect_files,
    list_given,
    parse_choice,
)
from bench.errors import UserError
from bench.files import make_folder, write_atomically

if TYPE_CHECKING:
    from bench.spec import Spec
    from strategies.smartfrz.training.corpus import Recording

HELP = "train SmartFRZ's predictor on source tasks, evaluate it, or describe a predictor file"
EXAMPLE = "freezebench predictor info"
FEATURES_HELP = "feature set of a token (default: as in the shipped predictor)"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(action=lambda _: parser.print_help())
    actions = parser.add_subparsers(title="actions", metavar="ACTION")
    for name, (text, example, add, action) in ACTIONS.items():
        sub = add_command(actions, name, text, f"freezebench predictor {example}")
        sub.set_defaults(action=action)
        add(sub)


def main(args: argparse.Namespace) -> int:
    return int(args.action(args) or 0)


def _add_train_arguments(parser: argparse.ArgumentParser) -> None:
    _add_source_arguments(parser)
    add_size_arguments(parser, FEATURES_HELP)
    parser.add_argument(
        "--out",
        type=parse_path,
        default=None,
        metavar="FILE",
        help="output file (default: the shipped predictor is replaced)",
    )
    add_training_arguments(parser)
    parser.add_argument(
        "--without-family",
        default="",
        metavar="NAME",
        help="family of models to leave out of the source runs (default: none)",
    )
    parser.add_argument(
        "--all",
        action="store_true",
        help="train all shipped predictors: also the windows and sizes of Tables 4 and 5",
    )
    parser.add_argument(
        "--shipped",
        action="store_true",
        help="train the two shipped predictors of usual size: the default and --as-published",
    )


def _add_evaluate_arguments(parser: argparse.ArgumentParser) -> None:
    _add_source_arguments(parser)
    add_size_arguments(parser, FEATURES_HELP)
    add_training_arguments(parser)
    parser.add_argument(
        "--used",
        action="store_true",
        help="also train one predictor without each source task, use it in runs on that task, and "
        "compare thresholds and controls",
    )


def _add_study_arguments(parser: argparse.ArgumentParser) -> None:
    _add_source_arguments(parser)
    add_size_arguments(parser, "feature set (default: all)")


def _add_info_arguments(parser: argparse.ArgumentParser) -> None:
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


def _add_source_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that select the source tasks and execute their runs."""
    source = parser.add_argument_group("source runs")
    add_profile_argument(source)
    add_workers_argument(source)
    add_data_root_argument(source)
    add_results_argument(source)


def _make(args: argparse.Namespace, specs: Sequence[Spec], results: Path) -> None:
    from bench.launch.launch import launch_all

    launch_all(specs, results, args.workers)


def _train(args: argparse.Namespace) -> int:
    from strategies.smartfrz.training.train_predictor import build_predictor, list_variants

    several = "--all" if args.all else "--shipped" if args.shipped else ""
    changed = [f"--{name.replace('_', '-')}" for name in list_given(args)]
    if several and (args.out or args.without_family or args.as_published):
        raise UserError(
            f"{several} writes the shipped files; remove --out, --without-family and --as-published"
        )
    if changed and not args.out:
        raise UserError(
            f"{', '.join(changed)}: a predictor trained in another way does not replace the "
            "shipped one; give --out FILE"
        )
    choices = [first := parse_choice(args)]
    if several:
        args.as_published, args.features = True, ""
        choices.append(parse_choice(args))
    for choice in [*choices, *(list_variants(first) if args.all else [])]:
        build_predictor(
            choice,
            args.results,
            partial(_make, args),
            out=args.out,
            without_family=args.without_family,
        )
    return 0


def _evaluate(args: argparse.Namespace) -> int:
    import pandas as pd

    from reports.figures import predictor_scores
    from reports.figures.style import apply_style, save_figure
    from strategies.smartfrz.studies.evaluation import evaluate_splits, format_evaluation
    from strategies.smartfrz.training.corpus import build_histories
    from strategies.smartfrz.training.train_predictor import require_both_labels

    choice = parse_choice(args)
    out = args.results / "reports" / choice.profile_name / "predictor"
    make_folder(out)
    recordings = _collect_recordings(args)
    window = choice.recipe.window
    corpus = build_histories(recordings, choice.features, window, choice.rule, choice.warmup)
    require_both_labels(corpus, choice.rule)
    evaluation = evaluate_splits(corpus, choice.recipe)
    print(format_evaluation(evaluation))
    parts = {"splits": evaluation.splits, "runs": evaluation.runs, "reliability": evaluation.bins}
    for name, rows in parts.items():
        write_atomically(out / f"{name}.csv", pd.DataFrame(rows).to_csv(index=False))
    title = f"Held-out scores of the predictor ({choice.features}) · {choice.profile_name} profile"
    with apply_style():
        drawn = predictor_scores.draw_split_scores(pd.DataFrame(evaluation.runs), title=title)
        save_figure(drawn, out / "scores")
        drawn = predictor_scores.draw_reliability(pd.DataFrame(evaluation.bins), title=title)
        save_figure(drawn, out / "reliability")
    if args.used:
        from strategies.smartfrz.studies import in_use_study

        outcomes = in_use_study.compare_in_use(choice, args.results, partial(_make, args))
        print(in_use_study.format_outcomes(outcomes))
    return 0


def _study(args: argparse.Namespace) -> int:
    from strategies.smartfrz.features import FEATURES
    from strategies.smartfrz.studies.feature_study import run_study
    from strategies.smartfrz.training.train_predictor import WARMUP

    choice = parse_choice(args)
    kept = args.results / "reports" / choice.profile_name / "predictor" / "study.csv"
    features = [args.features] if args.features else list(FEATURES)
    run_study(_collect_recordings(args), choice.recipe, WARMUP, kept, features)
    print(kept.read_text())
    return 0


def _rank_labels(args: argparse.Namespace) -> int:
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

    sources = load_source_sweep(args.profile, collect_files(args))
    sweep = load_sweep("harm", args.profile, changes={"evaluate_on": "validation"})
    refuse_targets(sweep)
    recorded = select_recorded(sweep, sources)
    needed = list_needed(recorded.values(), sources)
    _make(args, [*needed, *sweep.specs], args.results)
    rows = rank_rules(read_harmed(sweep, args.results), read_curves(recorded, args.results))
    print(format_ranking(rows))
    return 0


def _collect_recordings(args: argparse.Namespace) -> list[Recording]:
    from strategies.smartfrz.training.source_runs import (
        load_recordings,
        load_source_sweep,
        refuse_long_rule,
    )

    sweep, choice = load_source_sweep(args.profile, collect_files(args)), parse_choice(args)
    refuse_long_rule(sweep, choice.rule)
    return load_recordings(sweep, args.results, partial(_make, args), choice.tailored)


def _show_info(args: argparse.Namespace) -> int:
    from bench.planning.sweep_files import load_profile
    from strategies.smartfrz.describe import describe_cost, describe_predictor
    from strategies.smartfrz.strategy import SmartFRZ

    if args.features or args.window is not None or args.tailored is not None:
        if args.file:
            raise UserError("--window, --tailored and --features need no file; remove FILE")
        args.features = args.features or "raw"
        choice = parse_choice(args)
        print(describe_cost(choice.features, choice.recipe.window, choice.tailored))
        return 0
    path = args.file or SmartFRZ().files(load_profile(args.profile)["name"])["predictor"]
    print(describe_predictor(path))
    return 0


# Each action: its help, an example, its arguments and its function.
ACTIONS = {
    "train": (
        "execute the source runs, label their histories, and train and score a predictor",
        "train --window 30 --out mine.safetensors",
        _add_train_arguments,
        _train,
    ),
    "evaluate": (
        "score predictors on held-out runs, model families and source tasks, and draw the scores",
        "evaluate --used",
        _add_evaluate_arguments,
        _evaluate,
    ),
    "score": (
        "score a predictor on recorded runs of other data, such as that of the tables",
        "score targets --profile desk --data-root data",
        predictor_score.add_arguments,
        predictor_score.score,
    ),
    "study": (
        "compare all feature sets and labelling rules",
        "study --features raw",
        _add_study_arguments,
        _study,
    ),
    "harm": (
        "rank labelling rules by how well they predict what freezing does to accuracy",
        "harm --workers 2",
        _add_source_arguments,
        _rank_labels,
    ),
    "info": (
        "print the size, cost and origin of a predictor",
        "info --window 30",
        _add_info_arguments,
        _show_info,
    ),
}
