"""Combinations of a run's fields that contradict each other, or in which a field has no effect."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any

from bench.errors import UserError

ONE_PROCESS = ("cache_prefix", "fold_norms", "compiled")  # options that need one process
UNCOMPILED = ("cache_prefix", "fold_norms", "checkpointing")  # options that exclude `compiled`
CACHE_SIZES = ("cache_device_mib", "cache_host_mib", "cache_disk_mib")


def check_fields(fields: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
    """Raise UserError for fields that cannot be combined, and for a field without effect.

    A field without effect would give one training two ids.
    fields, defaults: values and default values of the fields of a run's spec, by name.
    """
    given = {name for name, default in defaults.items() if fields[name] != default}
    _check_optimizer(fields, given)
    _check_prefix_options(fields, given)
    if fields["score_samples"] and not fields["score_epochs"]:
        raise UserError("run: score_samples needs score_epochs; set score_epochs = true")
    if fields["precision"] == "tf32" and fields["device"] != "cuda":
        raise UserError(
            f"run: precision = 'tf32' needs device = 'cuda', not {fields['device']!r}; set "
            "precision = float32"
        )
    _check_replicas(fields)


def _check_optimizer(fields: Mapping[str, Any], given: Set[str]) -> None:
    optimizer, momentum = fields["optimizer"], fields["momentum"]
    if fields["nesterov"] and (optimizer != "sgd" or not momentum):
        raise UserError(
            f"run: nesterov needs optimizer = 'sgd' and momentum above 0, not optimizer = "
            f"{optimizer!r} and momentum = {momentum:g}; set nesterov = false"
        )
    if optimizer != "sgd" and "momentum" in given:
        raise UserError(
            f"run: momentum = {momentum:g} has no effect with optimizer = {optimizer!r}; leave "
            "momentum out"
        )


def _check_prefix_options(fields: Mapping[str, Any], given: Set[str]) -> None:
    if fields["cache_prefix"] and fields["augment"] != "none":
        raise UserError(
            f"run: cache_prefix needs the same inputs in every epoch, but augment = "
            f"{fields['augment']!r} changes them; set augment = none"
        )
    for name in CACHE_SIZES:
        if name in given and not fields["cache_prefix"]:
            raise UserError(
                f"run: {name} = {fields[name]} has no effect without cache_prefix; set "
                f"cache_prefix = true, or leave {name} out"
            )
    for name in UNCOMPILED:
        if fields["compiled"] and fields[name]:
            raise UserError(
                f"run: compiled and {name} cannot be combined; set one of them to false"
            )


def _check_replicas(fields: Mapping[str, Any]) -> None:
    """Raise UserError if several processes or machines cannot execute a run together."""
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
