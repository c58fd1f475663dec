"""Types of arguments, for argparse: paths and numbers."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from bench.errors import UserError
from bench.files import expand_home

YEAR = 365 * 24 * 3600.0


def parse_path(text: str) -> Path:
    """Return the path with ~ replaced by the home directory.

    The shell leaves the ~ in `--results=~/runs`. Raises ArgumentTypeError if the text is empty, or
    if there is no home directory.
    """
    if not text:
        raise argparse.ArgumentTypeError("the path is empty; give a path, or . for this folder")
    try:
        return expand_home(text)
    except UserError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def parse_count(text: str) -> int:
    """Return the number. Raise ArgumentTypeError for anything but a whole number of at least 0."""
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text} is not valid; give a whole number of at least 0")
    return int(text)


def parse_positive_int(text: str) -> int:
    """Return the number. Raise ArgumentTypeError for anything but a whole number of at least 1."""
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not valid; give a whole number of at least 1")
    return int(text)


def parse_seconds(text: str) -> float:
    """Return the seconds. Raise ArgumentTypeError unless they are above 0 and at most a year."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds <= YEAR:
        raise argparse.ArgumentTypeError(
            f"{text} is not valid; give seconds above 0 and at most {YEAR:.0f} (a year)"
        )
    return seconds
