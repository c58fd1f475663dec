"""LoRA: adapters and head train, the base keeps its bits, and FLOPs equal torch's counter."""

from pathlib import Path

import pytest
import torch

from bench.errors import UserError
from bench.models.anatomy import analyze_model
from bench.models.catalogue import build
from bench.models.shipped_backbones import find_backbone
from bench.models.texts.catalogue import find_text_model
from bench.models.texts.lora import is_adapter
from bench.planning.run_inputs import resolve_inputs
from bench.spec import Spec
from bench.training.freezing_stage import run_stage
from bench.training.run_state import RunState
from bench.training.training_step import take_step
from tests.support.counted_by_torch import count_by_torch
from tests.support.device import DEVICE

pytest.importorskip("peft")


def make_spec(model: str, **changes: object) -> Spec:
    values = {
        "model": model, "data": "grammar:acceptability", "strategy": "probe", "epochs": 1,
        "train_limit": 64, "optimizer": "adamw", "lr": 1e-2, "device": DEVICE.type,
        "weights": "file", "weights_may_lack": "bert.pooler",
    }  # fmt: skip
    files = {"weights": str(find_backbone("laptop_bert_mlm"))}
    return resolve_inputs(Spec.from_dict({**values, **changes}), "laptop", files)


def test_adapters_and_head_train_and_the_base_starts_and_stays_as_without_them(
    tmp_path: Path,
) -> None:
    plain = RunState(make_spec("laptop_bert"), tmp_path)
    run = RunState(make_spec("lora:laptop_bert"), tmp_path)
    inputs, _ = run.batches.batch(0)
    with torch.no_grad():
        one, other = (each.model.eval()(*inputs).logits for each in (plain, run))
    assert torch.equal(one, other)  # B is zero, and weights and head are those of the base
    run.strategy.start(run.view)
    run_stage(run)
    before = {name: p.detach().clone() for name, p in run.model.named_parameters()}
    run.model.train()
    for _ in range(2):
        take_step(run)
    moved = {n for n, p in run.model.named_parameters() if not torch.equal(p, before[n])}
    adapters = {name for name in before if ".lora_" in name}
    assert len(adapters) == 4 * 2 * 2  # A and B of query and value in four blocks
    assert moved == adapters | {"classifier.weight", "classifier.bias"}
    active = {run.layers[i].name for i in run.view.active}
    assert {is_adapter(name) for name in active - {"classifier"}} == {True}


def test_flops_with_adapters_equal_the_counter_of_torch() -> None:
    layers, flops = analyze_model("lora:laptop_bert", 2, 24)
    body = frozenset(i for i, layer in enumerate(layers[:-1]) if not is_adapter(layer.name))
    ids = torch.ones((1, 24), dtype=torch.long)
    inputs = (ids, torch.ones((1, 1, 1, 24), dtype=torch.bool), 0 * ids)
    forward, backward = count_by_torch(build("lora:laptop_bert", 2, 24, 0), layers, inputs, body)
    count = flops.exact(body)
    assert (count.forward, count.backward) == (forward, backward)
    full = flops.exact().total
    assert 0.25 < 1 - count.total / full < 0.35  # weight gradients of the base are saved


def test_an_unknown_base_is_an_error_of_one_line() -> None:
    with pytest.raises(UserError, match="lora: model"):
        find_text_model("lora:resnet50")
