"""Tests of the recorded gradient: its layer, its step, and resume after an interruption."""

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from bench.errors import Stopped
from bench.results.run_folder import RunFolder
from bench.strategy_api.view import View
from bench.training.loop import execute
from strategies.smartfrz.training.recorder import Record
from tests.support.tiny_runs import execute_run, make_tiny_spec
from tests.support.tiny_view import build_tiny_net, build_tiny_view, train_a_step


def record_steps(view: View, steps: int, **options: bool) -> Record:
    """Return a recorder after some steps. At each step, every gradient equals the step number."""
    record = Record(tailored=16, snapshots_per_epoch=5, samples=16, batch=8, **options)
    record.start(view)
    for _ in range(steps):
        train_a_step(view, seed=view.step)
        for parameter in view._model.parameters():
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            parameter.grad.fill_(view.step)  # in place, so the recorder has to copy it
        if record.observations().due(view.step, view.steps_per_epoch):
            record.observe(view)
    return record


def make_view(tmp_path: Path) -> View:
    reference = tmp_path / "reference.safetensors"
    save_file(build_tiny_net(1).state_dict(), reference)
    return build_tiny_view(build_tiny_net(), {"reference": reference})


def test_the_gradient_is_that_of_the_largest_layer_halfway_through_the_run(tmp_path: Path) -> None:
    trace = record_steps(make_view(tmp_path), 60, gradient=True).trace()
    assert trace["gradient"].tolist() == [50] * 144  # 4 × 4 × 3 × 3; the head has more weights
    assert trace["gradient"].dtype == torch.float32
    assert trace["gradient_layer"].item() == 1


def test_no_gradient_is_recorded_in_the_first_half_or_without_the_option(tmp_path: Path) -> None:
    early = record_steps(make_view(tmp_path), 49, gradient=True).trace()
    unasked = record_steps(make_view(tmp_path), 60).trace()
    for trace in (early, unasked):
        assert {"gradient", "gradient_layer"}.isdisjoint(trace)


def test_the_option_changes_the_run_id_only_if_set() -> None:
    plain, off, on = (
        make_tiny_spec("record", options=options, reference="run:another")
        for options in ({}, {"gradient": False}, {"gradient": True})
    )
    assert off.id == plain.id != on.id


def test_interruptions_before_and_after_halfway_do_not_change_the_trace(tmp_path: Path) -> None:
    options = {"gradient": True, "tailored": 8, "samples": 16, "batch": 16}
    traces = []
    for name, stops in (("straight", set()), ("broken", {3, 8})):
        reference = make_tiny_spec(seed=1000, keep_model=True)
        execute_run(reference, tmp_path / name)
        spec = make_tiny_spec("record", options=options, reference=f"run:{reference.id}")
        folder, steps = RunFolder(tmp_path / name, spec.id), []
        while not folder.done:
            try:
                execute(
                    spec,
                    tmp_path / name,
                    progress=lambda step, _, steps=steps: steps.append(step),
                    stop=lambda steps=steps, stops=stops: steps[-1] in stops,
                )
            except Stopped:
                continue
        assert folder.result()["resumed"] == bool(stops)
        traces.append(load_file(folder.path / "trace.safetensors"))
    assert traces[0]["gradient"].abs().max() > 0
    assert traces[0].keys() == traces[1].keys()
    for key, tensor in traces[0].items():
        assert torch.equal(tensor, traces[1][key])
