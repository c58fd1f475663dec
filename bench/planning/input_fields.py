"""Fields of a run that act only on images, or only on texts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from bench.data.catalogue import holds_texts
from bench.errors import UserError

OF_IMAGES = ("resolution", "augment", "normalisation", "channels_last")
OF_TEXTS = ("length",)


def drop_idle_fields(changes: Mapping[str, Any], data: str) -> dict[str, Any]:
    """Return the changes that act on a run with a data set. An empty name keeps all changes."""
    idle = _list_idle_fields(data)
    return {name: value for name, value in changes.items() if name not in idle}


def check_changes(changes: Mapping[str, Any], data_sets: Iterable[str]) -> None:
    """Raise UserError if a change acts on none of the data sets.

    Such a change would only give the same trainings other ids.
    """
    names = list(dict.fromkeys(data_sets))
    for field in changes:
        if names and all(field in _list_idle_fields(name) for name in names):
            kind, other = ("images", "texts") if field in OF_IMAGES else ("texts", "images")
            raise UserError(
                f"{field} acts on {kind} only, but {', '.join(names)} "
                f"{'contains' if len(names) == 1 else 'contain'} {other}; leave {field} out"
            )


def _list_idle_fields(data: str) -> tuple[str, ...]:
    if not data:
        return ()
    return OF_IMAGES if holds_texts(data) else OF_TEXTS
