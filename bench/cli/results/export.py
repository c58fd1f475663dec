"""`freezebench export`: results as two tidy tables, in compact form, or in Weights & Biases."""

from __future__ import annotations

import argparse
from dataclasses import astuple

from bench.cli.argument_types import parse_path
from bench.cli.arguments import add_results_argument, require_results
from bench.errors import UserError

HELP = "write all results as two tables, or in another format (compact, wandb)"
EXAMPLE = "freezebench export tables --format csv"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "out",
        nargs="?",
        type=parse_path,
        metavar="DIR",
        help="output folder (default: RESULTS/export)",
    )
    parser.add_argument(
        "--format",
        choices=("parquet", "csv", "compact", "wandb"),
        default="parquet",
        help="parquet, csv: one table of runs and one of decisions; compact: one small file for "
        "each finished run, without weights, which `freezebench merge` reads; wandb: upload the "
        "finished runs that were not uploaded before, as WANDB_MODE says",
    )
    add_results_argument(parser)


def main(args: argparse.Namespace) -> int:
    if args.format == "compact":
        return _write_compact(args)
    if args.format == "wandb":
        return _mirror(args)
    from reports.runs.export import read_results
    from reports.runs.export_files import write_results

    results = read_results(require_results(args))
    out = args.out or args.results / "export"
    for path, frame in zip(
        write_results(results, out, args.format), (results.runs, results.decisions), strict=True
    ):
        print(f"{path}: {len(frame)} row{'s' * (len(frame) != 1)}")
    return 0


def _write_compact(args: argparse.Namespace) -> int:
    """Write the finished runs in compact form. Return the exit status."""
    from bench.results.compact_form import write_compact_runs

    out = args.out or args.results / "export"
    outcome = write_compact_runs(require_results(args), out)
    count = len(outcome.written)
    if not count and not outcome.left_out:
        raise _make_empty_error(args)
    print(f"{out}: {count} run{'s' * (count != 1)}")
    if outcome.left_out:
        print(
            "left out, because the recording (trace.safetensors) contains weights: "
            f"{', '.join(outcome.left_out)}; to move such a run, copy its folder"
        )
    return 0


def _mirror(args: argparse.Namespace) -> int:
    """Upload the finished runs to Weights & Biases. Return 1 if an upload failed, else 0."""
    from bench.results.wandb_mirror import mirror_finished_runs

    if args.out:
        raise UserError(f"{args.out}: --format wandb writes to no folder; leave the folder out")
    outcome = mirror_finished_runs(require_results(args))
    if not any(astuple(outcome)):
        raise _make_empty_error(args)
    busy = f"; in use by another process: {outcome.busy}" if outcome.busy else ""
    print(
        f"uploaded: {outcome.sent}; uploaded before: {outcome.before}; failed: {outcome.failed}"
        f"{busy}"
    )
    return int(outcome.failed > 0)


def _make_empty_error(args: argparse.Namespace) -> UserError:
    return UserError(
        f"{args.results}: there is no finished run in its folder `runs`; check the path"
    )
