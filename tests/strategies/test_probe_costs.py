"""Law: the FLOPs of a probe are counted at its own input size.

The texts of a probe may be longer than those of a training batch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from bench.costs.flops import Flops
from strategies.base import Strategy
from strategies.gradients.auto_rgn import AutoRgn
from strategies.gradients.greentrainer import GreenTrainer
from strategies.representations.cka_oracle import CKAOracle
from strategies.representations.egeria import Egeria
from strategies.representations.simfreeze import SimFreeze
from tests.support.tiny_view import build_tiny_net, build_tiny_view, train_a_step

STEPS, SAMPLES = 44, 16
Cost = Callable[[Flops], float]
STRATEGIES: dict[str, tuple[Callable[[], Strategy], Cost]] = {
    "auto_rgn": (lambda: AutoRgn(samples=SAMPLES), lambda flops: flops.total),
    "greentrainer": (lambda: GreenTrainer(samples=SAMPLES), lambda flops: flops.total),
    "egeria": (lambda: Egeria(samples=SAMPLES, bootstrap=1.0), lambda flops: flops.forward),
    "simfreeze": (lambda: SimFreeze(samples=SAMPLES), lambda flops: flops.forward),
    "cka_oracle": (lambda: CKAOracle(samples=SAMPLES, batch=8), lambda flops: flops.forward),
}


def measure_cost(strategy: Strategy, place: Path, **changes: Any) -> float:
    """Return the FLOPs of a strategy's decisions in a training whose layers never freeze."""
    save_file(build_tiny_net(1).state_dict(), place / "reference.safetensors")
    artifacts = {"reference": place / "reference.safetensors"}
    view = build_tiny_view(build_tiny_net(), artifacts, loss=torch.tensor(1.0), **changes)
    strategy.start(view)
    for step in range(STEPS):
        if step:
            train_a_step(view, step)
            strategy.observe(view)
        if strategy.stages().due(view.step, view.steps_per_epoch):
            strategy.decide(view)
    return strategy.cost()


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_probe_is_charged_at_the_size_that_it_has(name: str, tmp_path: Path) -> None:
    make, each = STRATEGIES[name]
    flops = build_tiny_view(build_tiny_net(), {}).flops
    larger = replace(flops, products=tuple(replace(p, flops=3 * p.flops) for p in flops.products))
    sizes: list[int] = []

    def find_flops(size: int) -> Any:
        sizes.append(size)
        return larger

    plain = measure_cost(make(), tmp_path)
    more = measure_cost(make(), tmp_path, _flops_at=find_flops) - plain
    probes, rest = divmod(more, 2 * SAMPLES * each(flops.exact()))
    assert probes > 0
    assert rest == 0  # the kernels of outputs cost what they did
    assert set(sizes) == {8}
