"""Check that strategies/ and reports/ are imported from the folder that holds bench/."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from bench.errors import UserError
from bench.files import PROJECT

SIBLINGS = ("reports", "strategies")


def check_siblings() -> None:
    """Raise UserError if Python would import `reports` or `strategies` from elsewhere.

    In a user's project, the folder of the script comes first on Python's path, and folders named
    reports or strategies are common there. For bench/, freezebench.py makes the same check before
    the command line starts.
    """
    for name in SIBLINGS:
        spec = find_spec(name)
        places = [Path(p).resolve() for p in (spec and spec.submodule_search_locations) or ()]
        if PROJECT / name not in places:
            found = (spec and spec.origin) or f"no file named {name}"
            raise UserError(
                f"Python imports {name} from {found} instead of {PROJECT / name}; rename the other "
                f"{name}, or start Python where it is not on sys.path"
            )
