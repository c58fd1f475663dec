"""Requirements of a strategy on a training loop, checked before the first step."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.errors import UserError
from bench.strategy_api.output_checks import read_steps
from bench.strategy_api.registry import create_strategy
from bench.strategy_api.strategy import Strategy
from bench.strategy_api.view import View


def make_strategy(strategy: str | Strategy, options: Mapping[str, Any]) -> Strategy:
    """Return a strategy by name, by path/to/file.py:Class, or the given instance.

    Raises UserError for an unknown name or option. Raises UserError for options together with an
    instance, because an instance has its own options.
    """
    if isinstance(strategy, str):
        return create_strategy(strategy, options)
    if not isinstance(strategy, Strategy):
        raise UserError(
            f"Freezing: {strategy!r} is not a strategy; give a name (see `freezebench list "
            "strategies`), path/to/file.py:Class or an instance of a Strategy"
        )
    if options:
        raise UserError("Freezing: the strategy has its options already; leave out `options`")
    return strategy


def find_files(strategy: Strategy, name: str, files: Mapping[str, str | Path]) -> dict[str, Path]:
    """Return the files that a strategy reads, by role.

    The default files are those of the laptop profile. Raises UserError if a file does not exist, or
    if the strategy does not read a given file. Raises UserError if the strategy needs a reference
    and none is given.
    """
    own = strategy.files("laptop")
    roles = [*own, *(("reference",) if strategy.needs_reference else ())]
    if unknown := sorted(files.keys() - set(roles)):
        raise UserError(
            f"Freezing: strategy {name} reads no file {unknown[0]!r}; the files that it reads: "
            f"{', '.join(roles) or 'none'}"
        )
    found = {**own, **{role: Path(path) for role, path in files.items()}}
    if strategy.needs_reference and "reference" not in found:
        raise UserError(
            f"Freezing: strategy {name} needs a fully trained model of the same task; give "
            'files={"reference": PATH}, a safetensors file of its weights'
        )
    for role, path in found.items():
        if not path.exists():
            raise UserError(f"Freezing: the {role} file {path} does not exist; check `files`")
    return found


def refuse_own_length(strategy: Strategy, name: str, view: View) -> None:
    """Raise UserError if a strategy changes the number of steps of the training."""
    steps = read_steps(name, strategy.total_steps(view))
    if steps != view.total_steps:
        raise UserError(
            f"Freezing: strategy {name} with these options trains for {steps} steps, not "
            f"{view.total_steps}; the loop sets the number of steps, so leave out `saving`"
        )
