"""Check that a saved state belongs to the training that loads it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.errors import UserError
from bench.files import hash_file
from bench.strategy_api.strategy import Strategy
from bench.strategy_api.view import View

FORMAT = 2  # of Freezing.state_dict(); format 1 had no options, seed, base_lr and files


def describe_training(strategy: Strategy, name: str, view: View) -> dict[str, Any]:
    """Return the values that a saved state and a training must share, as plain values.

    The entry `options` includes defaults, and `files` holds a hash of each file that the strategy
    reads, by role. Raises UserError if such a file cannot be read.
    """
    return {
        "format": FORMAT,
        "strategy": name,
        "options": {key: getattr(strategy, key) for key in strategy.options},
        "seed": int(view.seed),
        "base_lr": view.base_lr,
        "files": {role: hash_file(path) for role, path in view.artifacts.items()},
        "total_steps": view.total_steps,
        "steps_per_epoch": view.steps_per_epoch,
        "layers": [layer.name for layer in view.layers],
    }


def check_state(state: Mapping[str, Any], ours: Mapping[str, Any]) -> None:
    """Raise UserError that names the first difference between a saved state and a training.

    ours: description of the training by `describe_training`.
    """
    if state.get("format") != FORMAT:
        raise UserError(
            f"Freezing: the state has format {state.get('format')!r}, but this version reads "
            f"{FORMAT}; resume with the version of freezebench that saved it, or begin again"
        )
    before, now = (_name_values({key: values.get(key) for key in ours}) for values in (state, ours))
    for name in dict.fromkeys((*now, *before)):
        if (was := before.get(name)) != (value := now.get(name)):
            # Without `base_lr`, Freezing reads it from an optimizer that may be loaded already.
            same = "base_lr as before" if name == "base_lr" else "the same arguments as before"
            raise UserError(
                f"Freezing: the state has {name} = {was!r}, but this training has {value!r}; make "
                f"Freezing with {same}"
            )


def _name_values(described: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a description by name, each option and each file on its own."""
    named = {key: value for key, value in described.items() if key not in ("options", "files")}
    options, files = described["options"] or {}, described["files"] or {}
    named |= {f"option {key}": value for key, value in options.items()}
    return named | {f"hash of the {role} file": value for role, value in files.items()}
