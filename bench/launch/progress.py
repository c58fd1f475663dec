"""Progress of a launch: a live display on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from typing import Any, TextIO

from rich.console import Console
from rich.progress import BarColumn, TaskID, TaskProgressColumn, TextColumn
from rich.progress import Progress as Display
from rich.table import Column

from bench.planning.estimates import DurationEstimator
from bench.planning.plan import Plan
from bench.spec import Spec

REDRAW_SECONDS = 0.1


class Progress:
    """Progress of the runs of one launch, written to stderr.

    A terminal shows one bar for the plan and one line for each running run. Without a terminal,
    each finished run gives one line. Diverged and failed runs are lines in both cases. The calling
    thread draws the display, because a second thread would take time from runs in this process.
    """

    def __init__(
        self, plan: Plan, estimator: DurationEstimator, workers: int, stream: TextIO | None = None
    ) -> None:
        """Open the display on a terminal, or prepare plain lines.

        stream: where to write (default: stderr).
        """
        self._estimator, self._workers = estimator, max(workers, 1)
        self._console = Console(file=stream or sys.stderr)
        self._left = {s.id: s for s in plan.todo}
        self._count = len(plan.todo)
        self._running: dict[str, tuple[Spec, float]] = {}
        self._since = time.monotonic()
        self._train = 0.0
        self._timed = 0  # finished runs whose whole time was spent in this launch
        self._resumed = 0  # finished runs that an earlier launch began
        self._drawn = 0.0
        self._lines: dict[str, TaskID] = {}
        self._display = Display(
            TextColumn("{task.description}", table_column=Column(no_wrap=True, ratio=1)),
            BarColumn(24),
            TaskProgressColumn(),
            TextColumn("{task.fields[note]}", justify="right"),
            console=self._console,
            auto_refresh=False,
            transient=True,
            expand=True,
            redirect_stdout=False,  # stdout may be a file that stderr must not receive
            disable=not self._console.is_terminal or self._console.is_dumb_terminal,
        )
        self._bar = self._display.add_task("", total=self._count, note="")
        self._display.start()

    def started(self, spec: Spec) -> None:
        """Show a run that a worker has started."""
        self._running[spec.id] = (spec, 0.0)
        self._lines[spec.id] = self._display.add_task(spec.label, total=1.0, note="")
        self._draw()

    def stepped(self, spec: Spec, step: int, steps: int) -> None:
        """Show how many of its steps a run has finished."""
        share = step / max(steps, 1)
        self._running[spec.id] = (spec, share)
        self._display.update(self._lines[spec.id], completed=share)
        self._draw()

    def finished(self, spec: Spec, result: dict[str, Any]) -> None:
        """Count a run that this launch has executed."""
        if result["resumed"]:
            self._resumed += 1
        else:
            self._train += result["clocks"]["train"]
            self._timed += 1
        self._show_result(spec, result, "")

    def found(self, spec: Spec, result: dict[str, Any]) -> None:
        """Count a run that another launcher has executed, without adding its train time."""
        self._show_result(spec, result, " by another launcher")

    def failed(self, spec: Spec, reason: str) -> None:
        """Count a run that failed, and print why."""
        self._remove_run(spec)
        self._print_line(f"failed: {spec.label}: {reason}")
        self._draw()

    def close(self) -> None:
        """Remove the live display."""
        self._display.stop()

    def sum_up(self) -> None:
        """Print the share of the workers' time that was training, if several runs finished.

        The rest of their time is evaluation, preparation, decisions, start-up and waiting. The
        training of resumed runs counts as rest too, because their clocks include time from earlier
        launches. Runs that other launchers executed are excluded.
        """
        elapsed = time.monotonic() - self._since
        if self._timed > 1:
            share = self._train / (elapsed * self._workers)
            resumed = f" of runs that were not resumed ({self._timed})" if self._resumed else ""
            self._print_line(
                f"{self._timed + self._resumed} runs in {format_duration(elapsed)}, "
                f"{self._workers} at a time: {100 * share:.0f} % of the workers' time was inside "
                f"training steps{resumed}"
            )

    @property
    def _done(self) -> int:
        return self._count - len(self._left)

    def _remove_run(self, spec: Spec) -> None:
        self._left.pop(spec.id, None)
        self._running.pop(spec.id, None)
        if spec.id in self._lines:
            self._display.remove_task(self._lines.pop(spec.id))

    def _show_result(self, spec: Spec, result: dict[str, Any], executed: str) -> None:
        self._remove_run(spec)
        seconds = result["clocks"]["whole"]
        self._estimator.learn(spec, seconds)
        if result["status"] == "diverged":
            self._print_line(f"diverged: {spec.label}: {result['reason']}")
        elif self._display.disable:
            unit = " %" if result["metric"] == "accuracy" else ""
            self._print_line(
                f"[{self._done}/{self._count}] {spec.label}: {result['accuracy']:.2f}{unit} "
                f"in {format_duration(seconds)}{executed}; {self._format_time_left()} left"
            )
        self._draw()

    def _format_time_left(self) -> str:
        seconds = sum(self._estimator.estimate_seconds(s) for s in self._left.values())
        for spec, share in self._running.values():
            seconds -= share * self._estimator.estimate_seconds(spec)
        return format_duration(max(seconds, 0) / self._workers)

    def _print_line(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _draw(self) -> None:
        if self._display.disable or time.monotonic() - self._drawn < REDRAW_SECONDS:
            return
        self._drawn = time.monotonic()
        self._display.update(
            self._bar,
            description=f"{self._done} of {self._count} runs",
            completed=self._count - len(self._left) + sum(s for _, s in self._running.values()),
            note=f"{self._format_time_left()} left",
        )
        self._display.refresh()


def format_duration(seconds: float) -> str:
    """Format seconds as 8 s, 3 min or 2.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
