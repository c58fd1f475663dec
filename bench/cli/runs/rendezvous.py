"""Argument --rendezvous: the same command on several machines without Slurm."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.spec import Spec


def add_rendezvous_argument(parser: argparse._ActionsContainer) -> None:
    """Add --rendezvous HOST:PORT."""
    parser.add_argument(
        "--rendezvous",
        default="",
        metavar="HOST:PORT",
        help="for nodes above 1 without Slurm: give the same command on each machine; HOST is the "
        "first machine (default: none)",
    )


@contextmanager
def meet_machines(address: str, specs: Sequence[Spec]) -> Iterator[bool]:
    """Meet the other machines; yield whether this machine decides which runs are executed.

    Yields True at once without an address. On a machine that does not decide, the block begins
    after this machine has executed its share of all runs. The block then has nothing left to
    execute.
    """
    if not address:
        yield True
        return
    from bench.distributed.machines import meet
    from bench.launch.processes.replicas import follow

    with meet(address, max(spec.nodes for spec in specs)) as machines:
        if not machines.first:
            print(f"machine {machines.rank + 1} of {machines.size}", file=sys.stderr, flush=True)
            follow(machines)
        yield machines.first
