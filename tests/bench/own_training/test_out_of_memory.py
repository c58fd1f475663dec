"""Test that a device out of memory is reported as out of memory, not as a wrong argument."""

from __future__ import annotations

import pytest
import torch

from tests.support.tiny_loop import TinyLoop

PLACES = {
    "forward": "bench.own_training.inputs.get_logits",
    "FLOPs": "bench.own_training.subject.count_flops",
    "optimizer": "bench.own_training.optimizer_check._moves_frozen_layer",
}


@pytest.mark.parametrize("where", PLACES)
def test_a_device_out_of_memory_is_reported_as_that(
    where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(PLACES[where], fail)
    with pytest.raises(torch.OutOfMemoryError):
        TinyLoop("full")
