"""Results of a round, which must stay unchanged, and their comparison with undisturbed runs."""

from __future__ import annotations

import json
from pathlib import Path

from bench.errors import UserError
from bench.launch.in_process import run_in_process
from bench.planning.plan import make_plan
from bench.planning.sweep import Sweep
from bench.results.comparison import find_difference, read_reproducible
from bench.results.run_folder import RunFolder
from bench.spec import Spec
from tests.soak.tally import Tally
from tests.soak.tiny_sweeps import Round


class KnownResults:
    """Results of a sweep. A result that `look` has seen must neither vanish nor change."""

    def __init__(self, results: Path, sweep: Sweep, tally: Tally) -> None:
        self._results, self._specs, self._tally = results, sweep.specs, tally
        self._seen: dict[str, bytes] = {}

    @property
    def missing(self) -> int:
        """Number of runs without a result."""
        return sum(not self._is_complete(spec) for spec in self._specs)

    @property
    def complete(self) -> bool:
        """Whether all runs have a result."""
        return self.missing == 0

    def look(self, when: str) -> None:
        """Record new results. Record a loss for each earlier result that has vanished or changed.

        when: text for the record of a loss.
        """
        for spec in self._specs:
            file = RunFolder(self._results, spec.id).path / "result.json"
            there = file.read_bytes() if file.exists() else b""
            before = self._seen.setdefault(spec.id, there) if there else self._seen.get(spec.id)
            if before is not None and there != before:
                what = "was written again" if there else "has disappeared"
                self._tally.losses.append(f"{when}: the result of {spec.label} {what}")
                self._seen.pop(spec.id)

    def _is_complete(self, spec: Spec) -> bool:
        return RunFolder(self._results, spec.id).is_complete(spec)


class _Undisturbed:
    """Watcher of undisturbed runs. It raises RuntimeError if a run fails."""

    def started(self, spec: Spec) -> None: ...
    def stepped(self, spec: Spec, step: int, steps: int) -> None: ...
    def finished(self, spec: Spec, result: dict[str, object]) -> None: ...
    def found(self, spec: Spec, result: dict[str, object]) -> None: ...
    def failed(self, spec: Spec, reason: str) -> None:
        raise RuntimeError(f"{spec.label} failed undisturbed: {reason}")


def compare(this: Round, sweep: Sweep, results: Path, alone: Path, tally: Tally) -> None:
    """Execute the runs of a round undisturbed in the folder `alone`, and compare the results."""
    alone.mkdir()
    run_in_process(make_plan(sweep.specs, alone), alone, _Undisturbed())
    for spec in sweep.specs:
        folders = [RunFolder(place, spec.id).path for place in (results, alone)]
        if not (folders[0] / "result.json").exists():
            continue  # recorded as a loss
        try:
            difference = find_difference(*map(read_reproducible, folders))
        except UserError as error:
            difference = str(error)
        if difference:
            tally.differences.append(f"{this}: {spec.label}, run {spec.id}: {difference}")
        tally.runs += 1
        tally.resumed += json.loads((folders[0] / "result.json").read_text())["resumed"]
        tally.strategies.add(spec.strategy)
