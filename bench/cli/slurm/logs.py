"""`freezebench logs`: failure and job logs of one run."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from bench.cli.argument_types import parse_positive_int
from bench.cli.arguments import add_results_argument
from bench.errors import UserError

if TYPE_CHECKING:
    from bench.launch.slurm.submissions import Submissions

HELP = "print why a run failed and the logs of its jobs"
EXAMPLE = "freezebench logs 3f2a --lines 100"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "run", help="run id or its first digits; `freezebench plan --each` lists the ids"
    )
    parser.add_argument(
        "--lines",
        type=parse_positive_int,
        default=40,
        metavar="INT",
        help="number of last lines of each log",
    )
    add_results_argument(parser)


def main(args: argparse.Namespace) -> int:
    from bench.launch.slurm.submissions import Submissions

    submissions = Submissions(args.results)
    run_id = _find_run_id(args.run, args.results, submissions)
    shown = 0
    for path in _list_logs(args.results / "runs" / run_id, run_id, submissions):
        if path.exists() and path.stat().st_size:
            print(f"==> {path}")
            print("\n".join(path.read_text(errors="replace").splitlines()[-args.lines :]))
            shown += 1
    if not shown:
        print(f"there is no log of run {run_id} yet")
    return 0


def _list_logs(folder: Path, run_id: str, submissions: Submissions) -> Iterator[Path]:
    """Yield the files on the failure of a run, then the logs of its jobs, oldest first."""
    yield folder / "failure.json"
    yield folder / "traceback.txt"
    for log in submissions.find_logs(run_id):
        yield log
        yield log.with_suffix(".err")


def _find_run_id(beginning: str, results: Path, submissions: Submissions) -> str:
    """Return the run id that begins with these digits. Raise UserError for none or several."""
    runs = results / "runs"
    known = {path.name for path in runs.iterdir()} if runs.is_dir() else set()
    known |= {run for array in submissions.read_all() for pack in array.packs for run in pack}
    found = sorted(run for run in known if run.startswith(beginning))
    if not found:
        raise UserError(
            f"no run in {results} has an id that begins with {beginning!r}; see "
            "`freezebench plan --each`, or give --results DIR"
        )
    if len(found) > 1:
        raise UserError(
            f"{len(found)} ids begin with {beginning!r}: {', '.join(found[:5])}"
            + (" …" if len(found) > 5 else "")
            + "; give more digits"
        )
    return found[0]
