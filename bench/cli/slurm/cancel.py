"""`freezebench cancel`: cancel the Slurm jobs of a sweep."""

from __future__ import annotations

import argparse

from bench.cli.sweep_arguments import add_sweep_arguments, resolve_sweep
from bench.errors import UserError

HELP = "cancel the Slurm jobs of sweeps; running jobs write a checkpoint first"
EXAMPLE = "freezebench cancel window"


def arguments(parser: argparse.ArgumentParser) -> None:
    add_sweep_arguments(parser)


def main(args: argparse.Namespace) -> int:
    from bench.launch.slurm import slurm_commands
    from bench.launch.slurm.submissions import Submissions
    from bench.launch.slurm.submit import reconcile

    sweep = resolve_sweep(args)
    submissions = Submissions(args.results)
    if not submissions.root.exists():
        raise UserError(
            f"no job was ever submitted for {args.results}; if another folder is "
            "meant, give --results DIR"
        )
    wanted = {spec.id for spec in sweep.specs}
    try:
        with submissions.hold_lock():  # so that no other process submits them again
            found = reconcile(submissions)
            numbers = {place.number for run, place in found.items() if run in wanted}
            others = {place.number for place in found.values()} - numbers
            slurm_commands.cancel(_group_into_arrays(numbers, others))
    except slurm_commands.Unreachable as error:
        raise UserError(
            f"Slurm does not answer ({error}); try again later, or on a login node"
        ) from None
    if not numbers:
        print(f"no job of {sweep.name} is in the queue")
        return 0
    count = f"{len(numbers)} job{'s' * (len(numbers) != 1)}"
    print(f"{count} cancelled; `freezebench sweep` continues from the checkpoints of the runs")
    return 0


def _group_into_arrays(numbers: set[str], others: set[str]) -> list[str]:
    """Return scancel arguments: an array id if no job of the array is kept, otherwise job ids.

    numbers: ids of the jobs to cancel.
    others: ids of the jobs to keep.
    """
    kept = {number.partition("_")[0] for number in others}
    arrays = ((number, number.partition("_")[0]) for number in numbers)
    return sorted({number if array in kept else array for number, array in arrays})
