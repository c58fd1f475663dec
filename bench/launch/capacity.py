"""How many runs this machine can execute at a time: GPUs, cores and threads."""

from __future__ import annotations

from collections.abc import Sequence

from bench.errors import UserError
from bench.machine.environment import count_cores
from bench.spec import Spec


def count_workers(specs: Sequence[Spec], asked: int = 0) -> int:
    """One worker a GPU; on CPU one a core; fewer where a run takes several of them.

    asked: so many instead; 0 = as many as fit. Raises UserError if two would share a GPU.
    """
    if not uses_gpus(specs):
        return asked or max(count_cores() // count_threads(specs), 1)
    import torch  # takes seconds; a launcher of runs on CPU needs none of it

    fit = torch.cuda.device_count() // count_gpus(specs)
    if asked > fit > 0:
        raise UserError(
            f"--workers {asked}: a run has its GPU to itself, or its time would say nothing, and "
            f"the GPUs here hold {fit} at a time; give {fit} at most"
        )
    return asked or max(fit, 1)


def count_gpus(specs: Sequence[Spec]) -> int:
    """How many GPUs each place for a run must have."""
    return max((s.replicas for s in specs), default=1)


def count_threads(specs: Sequence[Spec]) -> int:
    """How many CPU threads each place for a run must have."""
    return max((s.threads * s.replicas for s in specs), default=1)


def uses_gpus(specs: Sequence[Spec]) -> bool:
    """Whether any of the runs wants a GPU."""
    return any(s.device == "cuda" for s in specs)
