"""One training step of a run."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from torch import Tensor

from bench.batches.order import IGNORED_LABEL, count_batch_samples
from bench.costs.saved_memory import SavedBytes, count_state_bytes
from bench.errors import UserError
from bench.layers.discovery import Inputs
from bench.seeds import seed_device
from bench.strategy_api.output_checks import read_rates
from bench.training.optimizer import compute_lr_factor, compute_warmup_factor, set_learning_rates
from bench.training.run_state import RunState


def take_step(run: RunState) -> None:
    """Take one training step: forward, backward and update. Count its FLOPs, time and memory."""
    view = run.view
    # Dropout draws from these generators.
    seed_device(run.device, run.spec.seed, "step", view.step, *run.group.stream)
    view.lr = run.spec.lr * compute_lr_factor(view.step, view.total_steps, run.spec.warmup)
    rates: Sequence[float] = [view.lr]
    if run.strategy.sets_learning_rates:
        warm = compute_warmup_factor(view.step, view.total_steps, run.spec.warmup)
        answer = run.strategy.learning_rates(view)
        rates = [warm * r for r in read_rates(run.strategy_name, answer, len(run.layers))]
    set_learning_rates(run.optimizer, rates)
    run.accounting.begin_step()
    inputs, labels = (run.prefix_forward or run.batches).batch(view.step)
    samples = count_batch_samples(view.step, run.batches.samples, run.spec.batch_size)
    run.optimizer.zero_grad(set_to_none=True)
    run.group.begin_step()
    # Measure memory on the first full batch of each freeze state, or on the largest batch if input
    # sizes vary. Until then a smaller batch gives a preliminary value. The merged freeze state is
    # measured repeatedly.
    size = inputs[0].shape[-1]
    unmeasured = run.accounting.now.needs_measurement(len(labels), size)
    measure = SavedBytes(run.model) if unmeasured else nullcontext()
    with _enter_compiled_step(run, len(labels)):
        with measure, run.autocast():
            loss = run.compute_loss(_compute_output(run, inputs), labels)
            loss = _weight_loss(run, loss, labels, samples)
        loss.backward()
    run.group.sum_gradients()
    run.optimizer.step()
    run.accounting.end_step(samples, size, run.group.sent)

    if isinstance(measure, SavedBytes):
        held = count_state_bytes(run.model, run.optimizer) + view.count_snapshot_bytes()
        run.accounting.now.record_memory(len(labels), size, measure.bytes, held)
    view.loss = run.group.sum_over_processes(loss.detach())
    run.loss_sum += view.loss
    view.step += 1


def _weight_loss(run: RunState, loss: Tensor, labels: Tensor, samples: int) -> Tensor:
    """Return this process's part of the mean loss over the labels of the whole batch."""
    if run.group.size == 1:
        return loss
    if labels.dim() == 1:
        return run.group.weight_loss(loss, len(labels), samples)
    count = (labels != IGNORED_LABEL).sum()  # differs between the processes, for masked words
    return run.group.weight_loss(loss, count, run.group.sum_over_processes(count))


def _compute_output(run: RunState, inputs: Inputs) -> Any:
    """Return the model's output. Raises UserError if BatchNorm has a single value per channel."""
    try:
        if run.compiled:
            return run.compiled.forward(inputs)
        if run.prefix_forward is None:
            return run.group.forward(run.model, inputs)
        return run.prefix_forward.forward(run.view.step, inputs, run.accounting.now)
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise UserError(
            f"{run.spec.label}: the features shrink to one pixel, so BatchNorm needs two samples "
            f"per process; use --batch-size {2 * run.group.size} or more, or a larger resolution"
        ) from None


def _enter_compiled_step(run: RunState, samples: int) -> AbstractContextManager[None]:
    if run.compiled is None:
        return nullcontext()
    return run.compiled.step(samples, run.accounting.now)
