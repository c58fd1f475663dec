"""Cost of the strategies in LIMITS relative to training, at the default cadence of each."""

from __future__ import annotations

import time
from collections.abc import Iterator

from bench.perf.harness import Harness, PerfSettings, make_spec
from bench.perf.interleaved_timing import read_clock, time_block, wait_for
from bench.perf.measurement import Measurement, make_measurement
from bench.perf.median_interval import LEAST_ROUNDS
from bench.perf.subjects import SMALLEST
from bench.results.run_folder import RunFolder
from bench.training.loop import execute

LIMITS = {
    "full": "<= 0.00001",
    "linear": "<= 0.002",
    "autofreeze": "<= 0.01",
    "smartfrz": "<= 0.01",
}
# At 224 pixels, an epoch of CIFAR would take too long. Strategy calls and training steps are
# timed separately and then combined.
AT_224 = {
    "resnet50": {**LIMITS, "smartfrz": "<= 0.001"},
    "vgg11": {**LIMITS, "autofreeze": "<= 0.03", "smartfrz": ""},
}
STEPS_PER_EPOCH, EPOCHS = 1563, 10
QUANTITY = "decide / train"


def measure(settings: PerfSettings) -> Iterator[Measurement]:
    """Yield the ratio of decide time to train time for each strategy.

    For the smallest model, whole runs are executed. For the paper's models, strategy calls and
    training steps are timed separately.
    """
    for strategy, limit in LIMITS.items() if settings.select_models([SMALLEST]) else ():
        yield _time_whole_runs(settings, strategy, limit)
    for model in settings.select_models(AT_224):
        step = _time_steps(settings, model)
        yield make_measurement("decide", model, "step at 224 pixels", "seconds", step)
        for strategy, limit in AT_224[model].items():
            deciding = _time_decisions(settings, model, strategy)
            shares = [deciding / seconds for seconds in step]
            yield make_measurement("decide", model, strategy, QUANTITY, shares, limit)


def _time_whole_runs(settings: PerfSettings, strategy: str, limit: str) -> Measurement:
    """Execute runs of ten epochs with different seeds. Return the ratio of decide to train time."""
    shares: list[float] = []
    until = time.monotonic() + settings.seconds
    while len(shares) < LEAST_ROUNDS or (time.monotonic() < until and len(shares) < 9):
        spec = make_spec(settings, SMALLEST, strategy=strategy, lr=0.03, seed=len(shares))
        RunFolder(settings.place, spec.id).remove("result.json")
        clocks = execute(spec, settings.place)["cpu" if settings.device == "cpu" else "clocks"]
        shares.append(clocks["decide"] / clocks["train"])
    return make_measurement("decide", SMALLEST, strategy, QUANTITY, shares, limit)


def _time_steps(settings: PerfSettings, model: str) -> list[float]:
    """Return the seconds of steps of full training at 224 pixels, without the first step."""
    harness = Harness(make_spec(settings, model, resolution=224), settings.place)
    times: list[float] = []
    until = time.monotonic() + settings.seconds
    harness.step()
    while not times or (time.monotonic() < until and len(times) < 20):
        times.append(time_block(harness.step, 1, settings.torch_device))
    return times


def _time_decisions(settings: PerfSettings, model: str, strategy: str) -> float:
    """Return the seconds per training step that the strategy's calls take.

    The calls of a run are made at their cadence, without the training steps between them. After
    `settings.seconds`, the mean time per call stands for all further calls. No layer freezes, so
    every call covers all layers and the result is an upper bound. The size of weights and gradients
    does not depend on the resolution. Gradients of one step at 32 pixels are therefore sufficient.
    """
    spec = make_spec(settings, model, resolution=32, strategy=strategy, epochs=EPOCHS)
    harness = Harness(spec, settings.place)
    harness.step()
    view, decider = harness.run.view, harness.run.strategy
    view.steps_per_epoch, view.total_steps = STEPS_PER_EPOCH, STEPS_PER_EPOCH * EPOCHS
    if strategy == "linear":
        decider.start(view)  # its freezing steps depend on the length of the run
    observations, stages = decider.observations(), decider.stages()
    spent = {"observe": 0.0, "decide": 0.0}
    calls = {"observe": 0, "decide": 0}
    due = {"observe": 0, "decide": 0}
    until = time.monotonic() + settings.seconds
    for step in range(1, STEPS_PER_EPOCH * EPOCHS + 1):
        view.step = step
        for name, cadence in (("observe", observations), ("decide", stages)):
            if not cadence.due(step, STEPS_PER_EPOCH):
                continue
            due[name] += 1
            if time.monotonic() < until:
                wait_for(settings.torch_device)
                began = read_clock(settings.torch_device)
                getattr(decider, name)(view)
                wait_for(settings.torch_device)
                spent[name] += read_clock(settings.torch_device) - began
                calls[name] += 1
    return sum(
        spent[name] / calls[name] * due[name] / (STEPS_PER_EPOCH * EPOCHS)
        for name in due
        if calls[name]
    )
