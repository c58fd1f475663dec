"""What a frozen prefix puts out for each training sample, computed once and kept.

Rows are kept in the order in which samples are first seen: on the device, then in the host's
memory, then on disk, each within its budget; samples beyond that are computed each time. Which
samples a step computes together follows from the order of the data and from the step at which the
prefix froze, so that a resumed run, whose cache is empty, computes each row with the same
companions as before: with the same bits.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from bench.machine.to_device import move_to_device
from bench.prefix.cache_storage import Border, DiskStore, MemoryStore, RowStore

Compute = Callable[[Tensor], Border]
MEBI = 2**20


class PrefixCache:
    """The border tensors of every sample behind one cut.

    samples: of the training set. indices: the samples of a step, int64 (B,) on the CPU. compute:
    from samples to their border tensors, a row each. budgets: bytes on the device, in the host's
    memory and on disk; on a CPU the first two are one.
    """

    def __init__(
        self,
        samples: int,
        indices: Callable[[int], Tensor],
        compute: Compute,
        budgets: tuple[int, int, int],
        device: torch.device,
        folder: Path,
    ) -> None:
        self._samples, self._indices, self._compute = samples, indices, compute
        self._budgets, self._device, self._folder = budgets, device, folder
        self._place = torch.full((samples,), -1)  # a sample's row, in order of first appearance
        self._first = torch.full((samples,), -1)  # the step that saw it first
        self._filled = torch.zeros(samples, dtype=torch.bool)
        self._count = 0
        self._stores: list[RowStore] = []
        self._row, self._capacity = 0, samples  # known once there is one

    def replay(self, since: int, step: int) -> None:
        """Take up the run at `step`, the prefix being frozen since step `since`."""
        if since < step:
            self._open(self._compute(self._indices(since)[:2]))
            for earlier in range(since, step):
                self._assign(earlier)

    def serve(self, step: int) -> tuple[Border, int]:
        """The border tensors (B, …) of a step's samples, and how many rows were there already.

        A row counts as there if it was computed once before, also where a resumed run computes it
        again.
        """
        chosen = self._indices(step)
        fresh = self._place[chosen] < 0
        border: Border = ()
        if fresh.any():
            border = self._compute(chosen[fresh])
            self._open(border)
            self._assign(step)
            self._keep(chosen[fresh], border)
        self._refill(chosen[~fresh])
        return self._gather(chosen, fresh, border), int((~fresh).sum())

    def has_rows(self, step: int) -> bool:
        """Whether the rows of all of a step's samples are kept."""
        return bool(self._filled[self._indices(step)].all())

    def count_kept_bytes(self) -> dict[str, int]:
        """Bytes of the rows that have a place, by where they are."""
        kept, left = {}, self._count
        for store in self._stores:
            kept[store.name] = min(left, store.rows) * self._row
            left -= min(left, store.rows)
        return kept

    def close(self) -> None:
        """Forget everything and delete what is on disk."""
        for store in self._stores:
            store.close()
        self._stores = []

    def _open(self, like: Border) -> None:
        """Make the shelves, once a row's size is known."""
        if self._stores:
            return
        self._row = sum(t[0].numel() * t.element_size() for t in like)
        on_device, in_host, on_disk = (budget // self._row for budget in self._budgets)
        left = self._samples
        kinds: tuple[tuple[str, int], ...] = (("host", on_device + in_host), ("disk", on_disk))
        if self._device.type == "cuda":
            kinds = (("device", on_device), ("host", in_host), ("disk", on_disk))
        for name, rows in kinds:
            rows = min(rows, left)
            left -= rows
            if name == "disk":
                self._stores.append(DiskStore(rows, like, self._folder))
            else:
                where = self._device if name == "device" else torch.device("cpu")
                self._stores.append(MemoryStore(name, rows, like, where))
        self._capacity = self._samples - left

    def _assign(self, step: int) -> None:
        """Give a row to each sample that a step saw first, as long as there are any."""
        chosen = self._indices(step)
        fresh = chosen[self._place[chosen] < 0][: self._capacity - self._count]
        self._place[fresh] = torch.arange(self._count, self._count + len(fresh))
        self._first[fresh] = step
        self._count += len(fresh)

    def _keep(self, samples: Tensor, border: Border) -> None:
        placed = self._place[samples] >= 0
        kept = samples[placed]
        low = 0
        where = placed.nonzero()[:, 0]
        rows = self._place[kept]
        for store in self._stores:
            here = (rows >= low) & (rows < low + store.rows)
            if here.any():
                picked = move_to_device(self._device, where[here])
                store.put(rows[here] - low, tuple(t[picked] for t in border))
            low += store.rows
        self._filled[kept] = True

    def _refill(self, samples: Tensor) -> None:
        """Compute anew rows that were lost when the run was interrupted, as they were computed."""
        lost = samples[~self._filled[samples]]
        for step in self._first[lost].unique().tolist():
            chosen = self._indices(step)
            first = self._first[chosen]
            # With those that found no room at that step: they were computed together.
            together = chosen[(first == step) | (first < 0)]
            self._keep(together, self._compute(together))

    def _gather(self, chosen: Tensor, fresh: Tensor, computed: Border) -> Border:
        """The rows of a batch: those just computed, and those that are kept."""
        if fresh.all():
            return computed
        rows, low = self._place[chosen], 0
        parts = [(fresh, computed)] if computed else []
        for store in self._stores:
            here = ~fresh & (rows >= low) & (rows < low + store.rows)
            if here.any():
                parts.append((here, store.get(rows[here] - low)))
            low += store.rows
        if len(parts) == 1:
            return tuple(move_to_device(self._device, t) for t in parts[0][1])
        placed = [
            (move_to_device(self._device, here.nonzero()[:, 0]), tensors) for here, tensors in parts
        ]
        gathered = []
        for i in range(len(parts[0][1])):
            first = parts[0][1][i]
            whole = torch.empty(
                (len(chosen), *first.shape[1:]), dtype=first.dtype, device=self._device
            )
            for rows, tensors in placed:
                whole.index_copy_(0, rows, move_to_device(self._device, tensors[i]))
            gathered.append(whole)
        return tuple(gathered)
