"""In-use study: accuracy of runs with predictors on held-out source tasks, at equal cost.

For each task, a predictor is trained without the runs of the task. `smartfrz` then uses this
predictor on the task with several thresholds. For each threshold, controls with the same FLOPs are
run. The study checks the calibrated default threshold, so it uses source tasks only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.errors import UserError
from bench.planning.sweep import Entry, load_sweep
from bench.results.run_folder import RunFolder
from bench.spec import Spec
from strategies.smartfrz.strategy import SmartFRZ
from strategies.smartfrz.training.held_out import compute_interval
from strategies.smartfrz.training.source_runs import refuse_targets
from strategies.smartfrz.training.train_predictor import PredictorConfig, build_predictor

SWEEP = "used"


@dataclass(frozen=True)
class MethodOutcome:
    """Mean over seeds of one method on one model and task.

    matched: method whose cost was the budget of these runs; "" if none.
    accuracy: in percent.
    lost: percentage points of accuracy below full training.
    saved: share (0 to 1) of full training's FLOPs (exact) that is saved. The FLOPs of decisions
        count as cost.
    """

    model: str
    task: str
    method: str
    matched: str
    accuracy: float
    lost: float
    saved: float


def check_sizes(config: PredictorConfig) -> None:
    """Raise UserError if the runs of the sweep SWEEP cannot use a predictor of these sizes."""
    sizes = {
        "features": config.features,
        "window": config.training.window,
        "tailored": config.tailored,
    }
    for name, value in sizes.items():
        default = SmartFRZ.options[name].default
        if value != default:
            raise UserError(
                f"--used trains predictors for SmartFRZ with {name} = {default}, not {value}; "
                "remove --features, --window, --tailored and --as-published"
            )


def compare_in_use(
    config: PredictorConfig,
    results: Path,
    launch: Callable[[Sequence[Spec], Path], Any],
    report_line: Callable[[str], None] = print,
) -> list[MethodOutcome]:
    """Train one predictor per held-out task, launch the missing runs and return the outcomes.

    launch: function that executes a list of specs in a results folder.
    report_line: function that prints a line of progress.
    Raises UserError if a run fails, diverges or uses data that is not a source task.
    """
    outcomes = []
    plain = load_sweep(SWEEP, config.profile, files=config.files)
    refuse_targets(plain)
    for task in dict.fromkeys(entry.roles["dataset"] for entry in plain.entries):
        path = results / "predictors" / f"{config.profile_name}-without-{task}.safetensors"
        report_line(f"training a predictor without the task {task}:")
        build_predictor(
            config, results, launch, out=path, without_task=task, report_line=report_line
        )
        sweep = load_sweep(SWEEP, config.profile, files={**config.files, "predictor": str(path)})
        here = [entry for entry in sweep.entries if entry.roles["dataset"] == task]
        launch([entry.spec for entry in here], results)
        for model in dict.fromkeys(entry.roles["model"] for entry in here):
            outcomes += summarise(
                [entry for entry in here if entry.roles["model"] == model], results
            )
    return outcomes


def summarise(entries: Sequence[Entry], results: Path) -> list[MethodOutcome]:
    """Return one outcome per method, without full training.

    entries: runs of one model on one task.
    """
    accuracy: dict[str, list[float]] = {}
    saved: dict[str, list[float]] = {}
    matched: dict[str, str] = {}
    methods = {entry.spec.id: entry.roles["method"] for entry in entries}
    for entry in entries:
        result = RunFolder(results, entry.spec.id).result()
        if result["status"] != "done":
            raise UserError(
                f"{entry.spec.label}: run {entry.spec.id} diverged ({result['reason']}), but the "
                "comparison needs all runs; lower its lr"
            )
        method, flops = entry.roles["method"], result["flops"]
        spent = flops["exact"]["total"] + flops["decide"]
        accuracy.setdefault(method, []).append(result["accuracy"])
        saved.setdefault(method, []).append(1 - spent / flops["full_exact"])
        matched[method] = methods[entry.spec.match[0]] if entry.spec.match else ""
    mean = {method: sum(values) / len(values) for method, values in accuracy.items()}
    roles = entries[0].roles
    return [
        MethodOutcome(
            roles["model"],
            roles["dataset"],
            method,
            matched[method],
            mean[method],
            mean["full"] - mean[method],
            sum(saved[method]) / len(saved[method]),
        )
        for method in mean
        if method != "full"
    ]


def format_outcomes(outcomes: Sequence[MethodOutcome]) -> str:
    """Return one line for each method, with its means over the pairs of model and task.

    The line of a control also has a paired difference: the accuracy of the method that it matches
    minus that of the control, with a 95 % interval over the pairs.
    """
    lines = [f"{'method':16}{'FLOPs saved':>12}  {'points lost':>16}  method − control"]
    for method in dict.fromkeys(outcome.method for outcome in outcomes):
        here = {(o.model, o.task): o for o in outcomes if o.method == method}
        lost, half = compute_interval([o.lost for o in here.values()])
        saved = sum(o.saved for o in here.values()) / len(here)
        line = f"{method:16}{saved:12.1%}  {lost:+7.2f} ± {half:6.2f}"
        if matched := next(iter(here.values())).matched:
            other = {(o.model, o.task): o for o in outcomes if o.method == matched}
            gaps = [other[pair].accuracy - here[pair].accuracy for pair in here]
            mean, half = compute_interval(gaps)
            line += f"  {mean:+.2f} ± {half:.2f}"
        lines.append(line)
    return "\n".join(lines)
