"""Tests of process groups and gradient buckets, on two processes."""

import gc
import multiprocessing
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from bench.batches.order import count_batch_samples, count_usable_samples
from bench.data.images.augmentation import augment
from bench.distributed import gradient_sums
from bench.distributed.process_group import ALONE, ProcessGroup, join_processes
from bench.errors import UserError
from bench.layers.discovery import find_layers
from bench.layers.freezing import Freezer

INPUTS = torch.randn(8, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def net() -> nn.Module:
    """Return a network of three layers, two of them with BatchNorm."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(),
        nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4), nn.ReLU(),
        nn.Flatten(), nn.Linear(64, 5),
    )  # fmt: skip


def on_two(task: Callable[[ProcessGroup], Any], place: Path) -> list[Any]:
    """Run a task on two processes, and return each rank's result or the text of its UserError."""
    context = multiprocessing.get_context("fork")  # avoids importing torch again, which is slow
    processes = [context.Process(target=_answer, args=(task, rank, place)) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    return [torch.load(place / f"{rank}.pt", weights_only=True) for rank in range(2)]


def _answer(task: Callable[[ProcessGroup], Any], rank: int, place: Path) -> None:
    store = dist.FileStore(str(place / "meeting"), 2)
    with join_processes(rank, 2, store, "cpu") as group:
        try:
            answer = task(group)
        except UserError as error:
            answer = str(error)
        torch.save(answer, place / f"{rank}.pt")


def gradients(group: ProcessGroup, often: bool) -> Any:
    """Return the gradients of each step while layers freeze and thaw, and check the bytes sent."""
    model = net().eval()  # in training mode, BatchNorm of a share differs from that of the batch
    layers = find_layers(model, (INPUTS[:1],))
    freezer = Freezer(model, torch.optim.SGD(model.parameters(), lr=0.1), layers)
    group.attach(model, layers, switches_often=often)
    found = []
    for change in ((), (), (0,), (1,), ()):
        freezer.thaw(freezer.frozen)
        freezer.freeze(change)
        group.regroup()
        for _ in range(2):  # the second step uses the rearranged buckets
            model.zero_grad()
            group.begin_step()
            mine, before = INPUTS[group.share(7)], group.sent
            loss = group.forward(model, (mine,)).square().mean()
            group.weight_loss(loss, len(mine), 7).backward()
            group.sum_gradients()
            trains = sum(4 * p.numel() for p in model.parameters() if p.requires_grad)
            assert group.sent - before == (trains if group.size > 1 else 0)
            found.append([None if p.grad is None else p.grad.clone() for p in model.parameters()])
    return found


@pytest.mark.parametrize("often", [False, True])
def test_summed_gradients_are_those_of_the_whole_batch(often: bool, tmp_path: Path) -> None:
    whole = gradients(ProcessGroup(), often)
    first, second = on_two(lambda group: gradients(group, often), tmp_path)
    for expected, one, other in zip(whole, first, second, strict=True):
        for alone, mine, theirs in zip(expected, one, other, strict=True):
            assert (alone is None) == (mine is None) == (theirs is None)
            if alone is not None:
                assert torch.allclose(alone, mine, rtol=1e-4, atol=1e-6)
                assert torch.equal(mine, theirs)


def wrapping(group: ProcessGroup) -> list[bool]:
    """Return five checks that a wrap changes and sends nothing and that its old engine is freed."""
    model = net().train()
    group.attach(model, find_layers(model, (INPUTS[:1],)))
    buffers, random = [b.clone() for b in model.buffers()], torch.get_rng_state()
    group.begin_step()
    engine = weakref.ref(group._sums._engine)
    kept = [
        all(torch.equal(a, b) for a, b in zip(buffers, model.buffers(), strict=True)),
        torch.equal(random, torch.get_rng_state()),
        all(p.grad is None for p in model.parameters()),
        group.sent == 0,
    ]
    gc.disable()
    group.regroup()
    return [*kept, engine() is None]


def test_a_wrap_changes_and_sends_nothing_and_the_old_engine_is_freed(tmp_path: Path) -> None:
    assert on_two(wrapping, tmp_path) == [[True] * 5] * 2


def layouts(group: ProcessGroup) -> list[list[list[int]]]:
    """Return the number of elements of each parameter in each bucket, in order, for three steps."""
    model = net().eval()
    seen: list[list[list[int]]] = []
    sum_bucket = gradient_sums._sum_bucket

    def record(meter: Any, bucket: dist.GradBucket) -> torch.futures.Future[torch.Tensor]:
        if not meter.settling:
            seen[-1].append([p.numel() for p in bucket.parameters()])
        return sum_bucket(meter, bucket)

    gradient_sums._sum_bucket = record  # in this process only
    group.attach(model, find_layers(model, (INPUTS[:1],)))
    for _ in range(3):
        model.zero_grad()
        group.begin_step()
        seen.append([])
        group.forward(model, (INPUTS,)).sum().backward()
        group.sum_gradients()
    return seen


def test_no_step_after_a_wrap_rearranges_the_buckets(tmp_path: Path) -> None:
    """Compare the buckets of three steps.

    A resumed run wraps the model at another step. If the buckets changed, the order of sums and
    thus the bits would change.
    """
    for seen in on_two(layouts, tmp_path):
        assert seen[0]
        assert seen[0] == seen[1] == seen[2]


def test_a_layer_without_a_gradient_is_an_error_on_all_processes(tmp_path: Path) -> None:
    def partly(group: ProcessGroup) -> None:
        model = net().eval()
        group.attach(model, find_layers(model, (INPUTS[:1],)))
        group.begin_step()
        group.forward(model, (INPUTS,))
        model[:6](INPUTS).sum().backward()
        group.sum_gradients()

    first, second = on_two(partly, tmp_path)
    assert first == second
    assert "7.weight, 7.bias got none; set replicas to 1" in first


def batchnorm(group: ProcessGroup) -> list[list[torch.Tensor]]:
    """Return the shared running statistics after each of three steps.

    Layer 0 is frozen from the second step on.
    """
    model = net().train()
    layers = find_layers(model, (INPUTS[:1],))
    freezer = Freezer(model, torch.optim.SGD(model.parameters(), lr=0.1), layers)
    group.attach(model, layers)
    seen = []
    for frozen in ((), (0,), ()):
        freezer.freeze(frozen)
        group.regroup()
        model(INPUTS[group.share(8)])
        own = [b.clone() for b in model.buffers()]
        group.share_buffers()
        seen.append([b.clone() for b in model.buffers()])
        assert group.first or not all(torch.equal(a, b) for a, b in zip(own, seen[-1], strict=True))
    assert all(torch.equal(a, b) for a, b in zip(seen[0][:3], seen[2][:3], strict=True))
    return seen


def test_processes_share_running_statistics_and_those_of_frozen_layers_do_not_change(
    tmp_path: Path,
) -> None:
    first, second = on_two(batchnorm, tmp_path)
    for one, other in zip(first, second, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def agreements(group: ProcessGroup) -> Any:
    """Return the results of all collective operations."""
    return (
        group.broadcast_flag(group.first),
        group.broadcast_value({"rank": group.rank}),
        group.sum_over_processes(torch.tensor(group.rank + 1.0)).item(),
        group.reduce_max({"bytes": 5 - group.rank, "cuda": None}),
        group.gather_values(group.rank),
    )


def test_collective_operations_give_the_same_result_on_all_processes(tmp_path: Path) -> None:
    same = (True, {"rank": 0}, 3.0, {"bytes": 5, "cuda": None}, [0, 1])
    assert on_two(agreements, tmp_path) == [same, same]


def test_different_weights_on_one_process_are_an_error_on_both(tmp_path: Path) -> None:
    def differing(group: ProcessGroup) -> None:
        model = net()
        with torch.no_grad():
            model[0].weight[0, 0, 0, 0] += 1e-3 * group.rank
        group.attach(model, find_layers(model, (INPUTS[:1],)))
        group.regroup()

    first, second = on_two(differing, tmp_path)
    assert first == second
    assert "process 1 of 2 and process 0 differ in their weights" in first


def test_models_with_nan_weights_on_all_processes_count_as_the_same(tmp_path: Path) -> None:
    def diverged(group: ProcessGroup) -> str:
        model = net()
        with torch.no_grad():
            model[0].weight.fill_(float("nan"))
        group.attach(model, find_layers(model, (INPUTS[:1],)))
        group.regroup()
        return "same"

    assert on_two(diverged, tmp_path) == ["same", "same"]


@given(st.integers(0, 2000), st.integers(1, 9))
def test_shares_add_up_to_the_batch_and_their_sizes_differ_by_at_most_one(
    samples: int, size: int
) -> None:
    batch = list(range(samples))
    shares = [batch[ProcessGroup(rank, size).share(samples)] for rank in range(size)]
    assert [i for share in shares for i in share] == batch
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    assert ALONE.share(samples) == slice(0, samples)


@given(st.integers(1, 8), st.integers(2, 6), st.integers(0, 500))
def test_every_share_has_at_least_two_samples(size: int, each: int, more: int) -> None:
    batch_size, samples = size * each, 2 * size + more
    used = count_usable_samples(samples, batch_size, size)
    steps = -(-used // batch_size)
    batches = [count_batch_samples(step, used, batch_size) for step in range(2 * steps)]
    assert sum(batches[:steps]) == used
    assert batches[:steps] == batches[steps:]
    assert samples - used < 2 * size
    for rank in range(size):
        for count in batches[:steps]:
            share = ProcessGroup(rank, size).share(count)
            assert share.stop - share.start >= 2


@given(st.integers(1, 12), st.data())
def test_a_share_is_augmented_as_in_the_whole_batch(count: int, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, count - 1))
    stop = data.draw(st.integers(start + 1, count))
    images = torch.arange(count * 3 * 64, dtype=torch.int32).remainder(251).to(torch.uint8)
    images = images.view(count, 3, 8, 8)
    whole = augment(images, "crop+flip", torch.Generator().manual_seed(count))
    draws = torch.Generator().manual_seed(count)
    part = augment(images[start:stop], "crop+flip", draws, start, count)
    assert torch.equal(whole[start:stop], part)
