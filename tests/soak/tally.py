"""Counts of a soak: disturbances, compared runs, and everything that must not happen."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from tests.soak.tiny_sweeps import Round


@dataclass
class Tally:
    """Counts of a soak.

    losses: results that disappeared or were written twice, and runs that did not end.
    differences: runs whose reproducible record differs from that of an undisturbed run.
    messages: errors that are not one line.
    """

    disturbances: Counter[str] = field(default_factory=Counter)
    on_slurm: Counter[str] = field(default_factory=Counter)
    strategies: set[str] = field(default_factory=set)
    rounds: Counter[str] = field(default_factory=Counter)
    runs: int = 0
    resumed: int = 0
    losses: list[str] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)

    def note(self, this: Round, what: str) -> None:
        """Count a disturbance of a round."""
        self.disturbances[what] += 1
        if this.on_slurm:
            self.on_slurm[what] += 1

    @property
    def faults(self) -> list[str]:
        """All recorded losses, differences and messages, none of which may occur."""
        return [*self.losses, *self.differences, *self.messages]

    def format(self) -> str:
        """Return the counts in a few lines."""
        counts = ", ".join(f"{n} {what}" for what, n in sorted(self.disturbances.items()))
        there = ", ".join(f"{n} {what}" for what, n in sorted(self.on_slurm.items()))
        rounds = ", ".join(f"{n} {where}" for where, n in sorted(self.rounds.items()))
        return "\n".join(
            [
                f"rounds: {rounds or 0}; {self.runs} runs of {len(self.strategies)} strategies "
                f"compared, of which {self.resumed} resumed from a checkpoint",
                f"kills: {self.disturbances['SIGKILL']}, of which on Slurm: "
                f"{self.on_slurm['SIGKILL']}",
                f"disturbances: {counts or 0}; of these on Slurm: {there or 0}",
                f"losses: {len(self.losses)}",
                f"differences: {len(self.differences)}",
                f"errors that are not one line: {len(self.messages)}",
            ]
        )
