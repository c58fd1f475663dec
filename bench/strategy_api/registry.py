"""Lookup of strategy classes, by name or as path/to/file.py:Class.

A name belongs to a built-in strategy or to an installed package. Packages register their
strategies as entry points of the group "freezebench.strategies".
"""

from __future__ import annotations

import importlib.util
import inspect
import sys
from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import UserError
from bench.files import hash_file
from bench.options import check_options, make_unknown_error
from bench.strategy_api.built_in import find_built_in

if TYPE_CHECKING:
    from bench.strategy_api.strategy import Strategy

GROUP = "freezebench.strategies"


@cache
def find_strategies() -> dict[str, EntryPoint]:
    """Return the entry point of every strategy by name.

    A package cannot replace a built-in strategy.
    """
    others = {point.name: point for point in entry_points(group=GROUP)}
    built_in = find_built_in().values()
    return others | {facts.name: EntryPoint(facts.name, facts.place, GROUP) for facts in built_in}


def load_strategy_class(reference: str, path: str = "") -> type[Strategy]:
    """Return the class of a strategy.

    reference: a registered name, or path/to/file.py:Class.
    path: the current path of the file, if it differs from the path in `reference`.
    Raises UserError if the class does not exist, cannot be imported or is not a Strategy.
    """
    from bench.strategy_api.strategy import Strategy

    if ":" in reference:
        file, _, name = reference.rpartition(":")
        return _load_from_file(Path(path or file), name)
    points = find_strategies()
    if reference not in points:
        if reference.endswith(".py"):
            raise UserError(
                f"strategy {reference}: add the class, for example {reference}:MyStrategy"
            )
        raise make_unknown_error("strategy", reference, points)
    point = points[reference]
    try:
        found = point.load()
    except Exception as error:
        raise UserError(
            f"strategy {reference} ({point.value}) cannot be imported: {error!r}"
        ) from error
    if not (isinstance(found, type) and issubclass(found, Strategy)):
        raise UserError(f"strategy {reference}: {point.value} is not a subclass of Strategy")
    return found


def create_strategy(reference: str, options: Mapping[str, Any], path: str = "") -> Strategy:
    """Return an instance of a strategy with the given options; reference and path as above.

    Raises UserError if the class cannot be loaded or an option is invalid. Also raises it if the
    class has an `__init__` of its own that does not accept or does not set the options. The run
    would otherwise use other values than its record says.
    """
    cls = load_strategy_class(reference, path)
    values = check_options(f"strategy {reference}", cls.options, options)
    advice = "declare __init__(self, **options) and begin it with super().__init__(**options)"
    try:
        inspect.signature(cls).bind(**options)
    except TypeError as error:
        raise UserError(
            f"strategy {reference}: __init__ does not accept the options ({error}); {advice}"
        ) from None
    made = cls(**options)
    for key, value in values.items():
        # An __init__ may convert a given value. The default instead of it means that it was lost.
        default, found = cls.options[key].default, getattr(made, key, None)
        lost = value != default and isinstance(found, type(default)) and found == default
        if not hasattr(made, key) or lost:
            raise UserError(f"strategy {reference}: __init__ does not set option {key}; {advice}")
    return made


@cache  # entry points are read from disk
def find_foreign_package(reference: str) -> str:
    """Return the name and version of the package that provides a strategy.

    The result is "" for built-in strategies and for strategies in a file.
    """
    package = find_strategies()[reference].dist if reference in find_strategies() else None
    return f"{package.name} {package.version}" if package else ""


def normalize_options(reference: str, given: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """Return the given options in canonical form, without options that have their default value."""
    declared = load_strategy_class(reference, path).options
    values = check_options(f"strategy {reference}", declared, given)
    return {k: v for k, v in values.items() if v != declared[k].default}


def _load_from_file(path: Path, name: str) -> type[Strategy]:
    from bench.strategy_api.strategy import Strategy

    module_name = f"freezebench_external_{hash_file(path)}"
    if module_name not in sys.modules:
        spec = importlib.util.spec_from_file_location(module_name, path)
        if spec is None or spec.loader is None:
            raise UserError(f"strategy {path}: not a Python file; use path/to/file.py:Class")
        module = importlib.util.module_from_spec(spec)
        sys.modules[module_name] = module  # dataclasses look up their module here
        try:
            spec.loader.exec_module(module)
        except UserError as error:
            del sys.modules[module_name]
            raise UserError(f"strategy {path}: {error}") from None
        except (Exception, SystemExit) as error:
            del sys.modules[module_name]
            raise UserError(f"strategy {path} cannot be imported: {error!r}") from error
    found = getattr(sys.modules[module_name], name, None)
    if not (isinstance(found, type) and issubclass(found, Strategy)):
        classes = [
            key
            for key, value in vars(sys.modules[module_name]).items()
            if isinstance(value, type) and issubclass(value, Strategy) and value is not Strategy
        ]
        raise make_unknown_error(f"{path}: strategy class", name, classes)
    return found
