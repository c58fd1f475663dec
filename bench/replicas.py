"""Rules for runs that several processes execute together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.errors import UserError

ONE_PROCESS = ("cache_prefix", "fold_norms", "compiled")  # options that need one process


def check_replicas(fields: Mapping[str, Any]) -> None:
    """Raise UserError if several processes or machines cannot execute a run together.

    fields: the fields of the run's spec, by name.
    """
    replicas, nodes, batch_size = (fields[name] for name in ("replicas", "nodes", "batch_size"))
    if replicas % nodes:
        raise UserError(
            f"run: replicas = {replicas} is not divisible by nodes = {nodes}; each machine "
            "executes the same number of processes"
        )
    if replicas == 1:
        return
    if batch_size % replicas:
        raise UserError(
            f"run: batch_size = {batch_size} is not divisible by replicas = {replicas}; each "
            "process needs the same share of a batch"
        )
    if batch_size < 2 * replicas:
        raise UserError(
            f"run: batch_size = {batch_size} leaves each of {replicas} processes one sample, which "
            "is too few for BatchNorm; use fewer replicas"
        )
    for name in ONE_PROCESS:
        if fields[name]:
            raise UserError(f"run: {name} works in one process only; set replicas to 1")
