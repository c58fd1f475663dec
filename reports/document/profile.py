"""Profile of a report: the models and data sets that stand in for the paper's originals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from bench.errors import UserError

# The paper's models under the names of their libraries. They stand in for nothing.
LIBRARY_NAMES = {"deit_tiny": "deit_tiny_patch16_224", "bert_base": "bert-base-uncased"}


@dataclass(frozen=True)
class Profile:
    """Profile of a report. `stands_for` maps the paper's names to the names used in the runs."""

    name: str
    stands_for: Mapping[str, str] = field(default_factory=dict)
    device: str = ""
    predictor: str = ""
    sources: Sequence[str] = ()  # data sets that the predictor was trained on
    departures: str = ""  # sentence on how SmartFRZ differs from the paper's version
    changes: Mapping[str, Any] = field(default_factory=dict)  # fields set by command-line options
    remark: str = ""  # sentences that every report of the profile shows
    asked: str = ""  # arguments of `freezebench sweep` for these runs

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Profile:
        """Return a profile from a mapping; keys that are not fields are ignored."""
        known = [each.name for each in fields(cls)]
        return cls(**{key: values[key] for key in known if values.get(key)})

    def find_role(self, name: str) -> str:
        """Return the paper's name for a name used in the runs, or the name itself."""
        return {used: role for role, used in self.stands_for.items()}.get(name, name)

    def format_name(self, name: str) -> str:
        """Return a name for readers, such as "digits10 (for cifar10)"."""
        role = self.find_role(name)
        used = self.stands_for.get(role, name)
        return f"{used} (for {role})" if self._is_stand_in(role, used) else role

    def _is_stand_in(self, role: str, used: str) -> bool:
        return used not in (role, LIBRARY_NAMES.get(role))

    @property
    def sentence(self) -> str:
        """Sentence that names the profile, its changed settings and all stand-ins."""
        pairs = [
            f"{used} for {role}"
            for role, used in self.stands_for.items()
            if self._is_stand_in(role, used)
        ]
        changed = [f"{key} = {value}" for key, value in self.changes.items()]
        return (
            f"Profile: {self.name}."
            + (f" Changed for all runs: {', '.join(changed)}." if changed else "")
            + (f" Stand-ins: {', '.join(pairs)}." if pairs else "")
            + (f" {self.remark}" if self.remark else "")
        )


def merge_profiles(profiles: Sequence[Profile]) -> Profile:
    """Return one profile that combines the profiles of several reports.

    Raises UserError if `profiles` is empty.
    """
    if not profiles:
        raise UserError(
            "nothing to show: a sweep has a report only if it compares full training (`full`) with "
            "another method; name such a sweep, for example table2"
        )
    stands = {role: used for profile in profiles for role, used in profile.stands_for.items()}
    files = {file: None for profile in profiles for file in profile.predictor.split(", ") if file}
    # The departures differ only in the predictors' thresholds, which each table prints itself.
    departures = next((profile.departures for profile in profiles if profile.departures), "")
    return replace(
        profiles[0], stands_for=stands, predictor=", ".join(files), departures=departures
    )
