"""`freezebench predictor evaluate`: score predictors on held-out source runs."""

from __future__ import annotations

import argparse

from bench.cli.predictor.config import (
    FEATURES_HELP,
    add_size_arguments,
    add_training_arguments,
    list_given,
    parse_config,
)
from bench.cli.predictor.sources import add_source_arguments, collect_recordings, make_launch
from bench.errors import UserError
from bench.files import make_folder, write_atomically

HELP = "score predictors on held-out runs, model families and source tasks, and draw the scores"
EXAMPLE = "freezebench predictor evaluate --used"


def arguments(parser: argparse.ArgumentParser) -> None:
    add_source_arguments(parser)
    add_size_arguments(parser, FEATURES_HELP)
    add_training_arguments(parser)
    parser.add_argument(
        "--used",
        action="store_true",
        help="also train one predictor without each source task, use it in runs on that task, and "
        "compare thresholds and controls",
    )


def main(args: argparse.Namespace) -> int:
    import pandas as pd

    from reports.figures import predictor_scores
    from reports.figures.style import apply_style, save_figure
    from strategies.smartfrz.studies.evaluation import evaluate_splits, format_evaluation
    from strategies.smartfrz.studies.in_use_study import (
        check_sizes,
        compare_in_use,
        format_outcomes,
    )
    from strategies.smartfrz.training.corpus import build_histories
    from strategies.smartfrz.training.train_predictor import require_both_labels

    config = parse_config(args)
    if args.used:
        check_sizes(config)
    elif "decision" in list_given(args):
        raise UserError("--decision acts on the runs of --used only; add --used, or remove it")
    out = args.results / "reports" / config.profile_name / "predictor"
    make_folder(out)
    corpus = build_histories(
        collect_recordings(args),
        config.features,
        config.training.window,
        config.rule,
        config.unlabelled_share,
    )
    require_both_labels(corpus, config.rule)
    evaluation = evaluate_splits(corpus, config.training)
    print(format_evaluation(evaluation))
    parts = {"splits": evaluation.splits, "runs": evaluation.runs, "reliability": evaluation.bins}
    for name, rows in parts.items():
        write_atomically(out / f"{name}.csv", pd.DataFrame(rows).to_csv(index=False))
    title = f"Held-out scores of the predictor ({config.features}) · {config.profile_name} profile"
    with apply_style():
        drawn = predictor_scores.draw_split_scores(pd.DataFrame(evaluation.runs), title=title)
        save_figure(drawn, out / "scores")
        drawn = predictor_scores.draw_reliability(pd.DataFrame(evaluation.bins), title=title)
        save_figure(drawn, out / "reliability")
    if args.used:
        print(format_outcomes(compare_in_use(config, args.results, make_launch(args))))
    return 0
