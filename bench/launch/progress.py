"""What a person sees while runs are made: how many, how fast, how long still."""

from __future__ import annotations

import sys
import time
from typing import Any, TextIO

from bench.planning.estimates import Estimate
from bench.planning.plan import Plan
from bench.spec import Spec


class Progress:
    """One line kept up to date on a terminal; a line a finished run elsewhere."""

    def __init__(
        self, plan: Plan, estimate: Estimate, workers: int, stream: TextIO | None = None
    ) -> None:
        self._plan, self._estimate, self._workers = plan, estimate, max(workers, 1)
        self._stream = stream or sys.stderr
        self._live = self._stream.isatty()
        self._left = {s.id: s for s in plan.todo}
        self._count = len(plan.todo)
        self._running: dict[str, tuple[Spec, float]] = {}
        self._began: dict[str, float] = {}
        self._drawn = 0.0
        self._since = time.monotonic()
        self._train = 0.0
        self._timed = 0  # finished runs all of whose time was spent here

    def started(self, spec: Spec) -> None:
        """A worker took a run."""
        self._running[spec.id] = (spec, 0.0)
        self._began[spec.id] = time.monotonic()
        self._draw()

    def stepped(self, spec: Spec, step: int, steps: int) -> None:
        """A run made steps."""
        self._running[spec.id] = (spec, step / max(steps, 1))
        self._draw()

    def finished(self, spec: Spec, result: dict[str, Any]) -> None:
        """A run has a result."""
        self._forget_run(spec)
        self._estimate.learn(spec, result["clocks"]["whole"])
        if not result["resumed"]:
            self._train += result["clocks"]["train"]
            self._timed += 1
        if result["status"] == "diverged":
            self._print_line(f"diverged: {spec.label}: {result['reason']}")
        else:
            seconds = result["clocks"]["whole"]
            text = f"{spec.label}: {result['accuracy']:.2f} % in {format_duration(seconds)}"
            if not self._live:
                self._print_line(
                    f"[{self._done}/{self._count}] {text}; {self._format_time_left()} left"
                )
        self._draw()

    def failed(self, spec: Spec, reason: str) -> None:
        """A run failed."""
        self._forget_run(spec)
        self._print_line(f"failed: {spec.label}: {reason}")
        self._draw()

    def close(self) -> None:
        """Take the live line away."""
        if self._live:
            self._stream.write("\r\x1b[K")
            self._stream.flush()

    def sum_up(self) -> None:
        """Say what share of the workers' time was training, if more than one run was made.

        What is left of it is evaluating, preparing, deciding, starting up and waiting. Runs that
        were resumed are left out: their clocks hold time from before.
        """
        elapsed = time.monotonic() - self._since
        if self._timed > 1:
            share = self._train / (elapsed * self._workers)
            self._print_line(
                f"{self._timed} runs in {format_duration(elapsed)}, {self._workers} at a time: "
                f"{share:.0%} of that inside training steps"
            )

    @property
    def _done(self) -> int:
        return self._count - len(self._left)

    def _forget_run(self, spec: Spec) -> None:
        self._left.pop(spec.id, None)
        self._running.pop(spec.id, None)

    def _format_time_left(self) -> str:
        seconds = sum(self._estimate.seconds(s) for s in self._left.values())
        for spec, share in self._running.values():
            seconds -= share * self._estimate.seconds(spec)
        return format_duration(max(seconds, 0) / self._workers)

    def _print_line(self, text: str) -> None:
        self.close()
        print(text, file=self._stream, flush=True)

    def _draw(self) -> None:
        if not self._live or time.monotonic() - self._drawn < 0.1:
            return
        self._drawn = time.monotonic()
        running = "; ".join(f"{s.label} {share:.0%}" for s, share in self._running.values())
        line = f"[{self._done}/{self._count}] {self._format_time_left()} left  {running}"
        self._stream.write(f"\r\x1b[K{line[:118]}")
        self._stream.flush()


def format_duration(seconds: float) -> str:
    """Seconds in words: 8 s, 3 min, 2.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
