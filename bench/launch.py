"""One function takes a list of runs and makes those that are missing."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from bench.errors import UserError
from bench.inline import run_inline
from bench.mirror import wanted
from bench.plan import Estimate, make_plan
from bench.pool import Outcome, Pool, workers_for
from bench.progress import Progress
from bench.results import explained
from bench.spec import Spec


def launch(specs: Sequence[Spec], results: Path, workers: int = 0) -> Outcome:
    """Make all runs that are not done: one in this process, several in local workers.

    workers: 0 = as many as fit. Raises UserError if runs would share a GPU.
    """
    wanted()  # a run is mirrored when it is done: too late to hear of a mode that is none
    plan = make_plan(specs, results)
    if not plan.todo:
        return Outcome()
    make_results_folder(results)
    count = workers_for(plan.todo, workers)
    # Workers inherit this before they load torch; more threads than cores slow all of them.
    threads = max(s.threads for s in plan.todo)
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, str(threads))
    progress = Progress(plan, Estimate(plan, results), count)
    try:
        if len(plan.todo) == 1:
            return run_inline(plan, results, progress)
        return Pool(plan, results, count, progress).run()
    finally:
        progress.close()
        progress.sum_up()


def make_results_folder(results: Path) -> None:
    """Make the folder of all results; raises UserError where there can be none."""
    try:
        with explained(results):
            results.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise UserError(
            f"{results}: a file is where a folder must be; move it or use --results DIR"
        ) from None
