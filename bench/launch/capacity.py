"""Number of runs that fit on this machine at a time, given the GPUs or threads of each run."""

from __future__ import annotations

from collections.abc import Sequence

from bench.errors import UserError
from bench.machine.environment import count_cores
from bench.spec import Spec


def count_workers(specs: Sequence[Spec], asked: int = 0) -> int:
    """Return how many workers to start.

    One worker per GPU or core fits, or fewer if a run needs several GPUs or threads. Runs on
    several machines get one worker.
    asked: number of workers that the user gave; 0 = as many as fit.
    Raises UserError if two runs would share a GPU.
    """
    if any(s.nodes > 1 for s in specs):
        return 1  # the other machines execute one run at a time
    if not uses_gpus(specs):
        return asked or max(count_cores() // count_threads(specs), 1)
    import torch  # imported here because it takes seconds, and CPU runs do not need it

    fit = torch.cuda.device_count() // count_gpus(specs)
    if asked > fit > 0:
        raise UserError(
            f"--workers {asked}: each run needs a GPU of its own for its times to be valid, and "
            f"this machine has GPUs for {fit} at a time; use --workers {fit} or fewer"
        )
    return asked or max(fit, 1)


def count_gpus(specs: Sequence[Spec]) -> int:
    """Return how many GPUs a worker needs: the largest number that any run uses on one machine."""
    return max((s.replicas_per_node for s in specs), default=1)


def count_threads(specs: Sequence[Spec]) -> int:
    """Return how many CPU threads a worker needs: the largest number that any run uses.

    Only the threads on one machine count.
    """
    return max((s.threads * s.replicas_per_node for s in specs), default=1)


def uses_gpus(specs: Sequence[Spec]) -> bool:
    """Return whether any of the runs uses a GPU."""
    return any(s.device == "cuda" for s in specs)
