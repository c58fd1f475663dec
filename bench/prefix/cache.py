"""Cache for the outputs of a frozen prefix, one row per training sample.

Rows are stored in the order in which samples are first seen. They fill the device, then host
memory, then the disk, each up to its budget. Samples beyond all budgets are recomputed every time.
Which samples a step computes together depends only on the data order and on the step at which the
prefix froze. A resumed run starts with an empty cache. It recomputes each row in the same batch as
before, which gives bit-identical values.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from bench.machine.to_device import move_to_device
from bench.prefix.cache_storage import CutTensors, DiskStore, MemoryStore, RowStore

Compute = Callable[[Tensor], CutTensors]
MEBI = 2**20


class PrefixCache:
    """Cache for the cut tensors (the outputs of the prefix) of training samples, for one cut.

    samples: number of training samples.
    indices: function from a step to the indices of its samples, int64 (B,) on the CPU.
    compute: function from sample indices to their cut tensors, one row per sample.
    budgets: bytes on the device, in host memory and on disk. On a CPU, the first two budgets are
    added up.
    folder: directory for the files on disk.
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
        self._place = torch.full((samples,), -1)  # row of each sample, -1 if none
        self._first = torch.full((samples,), -1)  # step that computed the row, -1 if none
        self._filled = torch.zeros(samples, dtype=torch.bool)
        self._count = 0
        self._stores: list[RowStore] = []
        self._row, self._capacity = 0, samples  # final values are set in _open

    def replay(self, since: int, step: int) -> None:
        """Give each sample the row of the cache that it had before the run was interrupted.

        since: the step at which the current prefix froze.
        step: the step at which the run resumes.
        """
        if since < step:
            self._open(self._compute(self._indices(since)[:2]))
            for earlier in range(since, step):
                self._assign(earlier)

    def serve(self, step: int) -> tuple[CutTensors, int]:
        """Return the cut tensors (B, …) of a step's samples, and the number of reused rows.

        A row counts as reused if an earlier step computed it, even if a resumed run must recompute
        it.
        """
        chosen = self._indices(step)
        fresh = self._place[chosen] < 0
        cut_tensors: CutTensors = ()
        if fresh.any():
            cut_tensors = self._compute(chosen[fresh])
            self._open(cut_tensors)
            self._assign(step)
            self._keep(chosen[fresh], cut_tensors)
        self._refill(chosen[~fresh])
        return self._gather(chosen, fresh, cut_tensors), int((~fresh).sum())

    def has_rows(self, step: int) -> bool:
        """Return whether the cache holds the rows of all samples of a step."""
        return bool(self._filled[self._indices(step)].all())

    def count_kept_bytes(self) -> dict[str, int]:
        """Return the bytes of the assigned rows, by storage name."""
        kept, left = {}, self._count
        for store in self._stores:
            kept[store.name] = min(left, store.rows) * self._row
            left -= min(left, store.rows)
        return kept

    def close(self) -> None:
        """Drop all rows and delete the files on disk."""
        for store in self._stores:
            store.close()
        self._stores = []

    def _open(self, like: CutTensors) -> None:
        """Create the row stores, if there are none. `like` holds example rows, for their size."""
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
        """Assign rows to the samples of a step that have no row yet, while free rows remain."""
        chosen = self._indices(step)
        fresh = chosen[self._place[chosen] < 0][: self._capacity - self._count]
        self._place[fresh] = torch.arange(self._count, self._count + len(fresh))
        self._first[fresh] = step
        self._count += len(fresh)

    def _keep(self, samples: Tensor, cut_tensors: CutTensors) -> None:
        placed = self._place[samples] >= 0
        kept = samples[placed]
        low = 0
        where = placed.nonzero()[:, 0]
        rows = self._place[kept]
        for store in self._stores:
            here = (rows >= low) & (rows < low + store.rows)
            if here.any():
                picked = move_to_device(self._device, where[here])
                store.put(rows[here] - low, tuple(t[picked] for t in cut_tensors))
            low += store.rows
        self._filled[kept] = True

    def _refill(self, samples: Tensor) -> None:
        """Recompute rows that were lost when the run was interrupted, in their original batches."""
        lost = samples[~self._filled[samples]]
        for step in self._first[lost].unique().tolist():
            chosen = self._indices(step)
            first = self._first[chosen]
            # Samples without a row were computed in the same batch, so they are included.
            together = chosen[(first == step) | (first < 0)]
            self._keep(together, self._compute(together))

    def _gather(self, chosen: Tensor, fresh: Tensor, computed: CutTensors) -> CutTensors:
        """Return the rows of a batch, from the rows just computed and the cached rows."""
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
