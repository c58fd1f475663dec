"""The profile of a report: which small model or data set stands for which original."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from bench.errors import UserError


@dataclass(frozen=True)
class Profile:
    """At which scale a report was made: `stands_for` maps the paper's names to those used."""

    name: str
    stands_for: Mapping[str, str] = field(default_factory=dict)
    device: str = ""
    predictor: str = ""
    sources: Sequence[str] = ()  # the data that the predictor was trained on
    departures: str = ""  # in what SmartFRZ is not the paper's here
    changes: Mapping[str, Any] = field(default_factory=dict)  # fields set on the command line
    asked: str = ""  # the words behind `freezebench sweep` that ask for these runs

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Profile:
        """From a mapping with these keys; others are left alone."""
        known = (
            "name",
            "stands_for",
            "device",
            "predictor",
            "sources",
            "departures",
            "changes",
            "asked",
        )
        return cls(**{key: values[key] for key in known if values.get(key)})

    def find_role(self, name: str) -> str:
        """The paper's name for a name used here, or the name itself."""
        return {used: role for role, used in self.stands_for.items()}.get(name, name)

    def format_name(self, name: str) -> str:
        """A name as readers meet it: what was used, and what it stands for."""
        role = self.find_role(name)
        used = self.stands_for.get(role, name)
        return used if used == role else f"{used} (for {role})"

    @property
    def sentence(self) -> str:
        """Names the profile, what was set beside it, and all that stands for something else."""
        pairs = [f"{used} for {role}" for role, used in self.stands_for.items() if used != role]
        changed = [f"{key} = {value}" for key, value in self.changes.items()]
        return (
            f"Profile: {self.name}."
            + (f" Set otherwise for every run: {', '.join(changed)}." if changed else "")
            + (f" Stand-ins: {', '.join(pairs)}." if pairs else "")
        )


def merge_profiles(profiles: Sequence[Profile]) -> Profile:
    """What all reports say of their profile, taken together."""
    if not profiles:
        raise UserError("none of these sweeps has tables or figures to show; name one of a table")
    stands = {role: used for one in profiles for role, used in one.stands_for.items()}
    files = {file: None for one in profiles for file in one.predictor.split(", ") if file}
    # One is enough: they differ in the predictors' thresholds, which each table gives by itself.
    departures = next((one.departures for one in profiles if one.departures), "")
    return replace(
        profiles[0], stands_for=stands, predictor=", ".join(files), departures=departures
    )
