"""Declared parameters with defaults, valid ranges and descriptions, and their validation."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bench.errors import UserError


@dataclass(frozen=True)
class Option:
    """Declared parameter; each subclass defines which values are valid."""

    default: Any
    doc: str = field(default="", kw_only=True)

    def describe_valid(self) -> str:
        """Return the valid values in words, for messages and `freezebench list`."""
        raise NotImplementedError

    def accept(self, value: Any) -> Any:
        """Return the value in its canonical type; raise ValueError if it is not valid."""
        raise NotImplementedError


@dataclass(frozen=True)
class Integer(Option):
    """Whole number in [low, high]."""

    low: int = 0
    high: int = 2**53

    def describe_valid(self) -> str:
        if self.high == type(self).high:
            return f"a whole number of at least {self.low}"
        return f"a whole number from {self.low} to {self.high}"

    def accept(self, value: Any) -> int:
        if isinstance(value, str):
            value = int(value) if value.strip().lstrip("+-").isdigit() else float(value)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value != int(value):
            raise ValueError
        if not self.low <= value <= self.high:
            raise ValueError
        return int(value)


@dataclass(frozen=True)
class Real(Option):
    """Finite number in [low, high]."""

    low: float = float("-inf")
    high: float = float("inf")

    def describe_valid(self) -> str:
        if math.isfinite(self.low) and math.isfinite(self.high):
            return f"a number from {self.low:g} to {self.high:g}"
        if math.isfinite(self.low):
            return f"a number of at least {self.low:g}"
        return f"a number of at most {self.high:g}" if math.isfinite(self.high) else "a number"

    def accept(self, value: Any) -> float:
        if isinstance(value, bool):
            raise ValueError
        number = float(value)
        if not math.isfinite(number) or not self.low <= number <= self.high:
            raise ValueError
        return number + 0.0  # turns -0.0 into 0.0, so that both give the same run id


@dataclass(frozen=True)
class Choice(Option):
    """One of a fixed set of words."""

    choices: tuple[str, ...] = ()

    def describe_valid(self) -> str:
        return "one of " + ", ".join(self.choices)

    def accept(self, value: Any) -> str:
        if value not in self.choices:
            raise ValueError
        return str(value)


@dataclass(frozen=True)
class Flag(Option):
    """Boolean."""

    def describe_valid(self) -> str:
        return "true or false"

    def accept(self, value: Any) -> bool:
        if isinstance(value, str) and value.lower() in ("true", "false"):
            return value.lower() == "true"
        if not isinstance(value, bool):
            raise ValueError
        return value


@dataclass(frozen=True)
class Text(Option):
    """Any string."""

    def describe_valid(self) -> str:
        return "a string"

    def accept(self, value: Any) -> str:
        if not isinstance(value, str):
            raise ValueError
        return value


def check_options(
    owner: str, declared: Mapping[str, Option], given: Mapping[str, Any]
) -> dict[str, Any]:
    """Return every declared option with its given or default value, in declared order.

    owner: the subject of error messages. Raises UserError that names the key, the value and the
    valid values.
    """
    for key in given:
        if key not in declared:
            raise make_unknown_error(f"{owner}: option", key, declared)
    values = {}
    for key, option in declared.items():
        value = given.get(key, option.default)
        try:
            values[key] = option.accept(value)
        except (ValueError, TypeError, OverflowError):
            raise UserError(
                f"{owner}: {key} = {value!r} is not valid; give {option.describe_valid()}"
            ) from None
    return values


def make_unknown_error(what: str, word: str, known: Mapping[str, Any] | list[str]) -> UserError:
    """Return the error for an unknown word. Its message names the nearest and all known words.

    what: kind of the word, such as "run: key"; the message begins with it.
    """
    names = list(known)
    near = difflib.get_close_matches(str(word), names, n=1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    listed = ", ".join(names) if names else "none"
    return UserError(f"{what} {word!r} is unknown{hint}; valid: {listed}")
