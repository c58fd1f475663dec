"""Storage for cached cut tensors: on the device, in host memory and on disk."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from bench.files import explain_errors
from bench.machine.to_device import move_to_device

CutTensors = tuple[Tensor, ...]


class RowStore(Protocol):
    """Storage for the cut tensors of a fixed number of rows."""

    name: str
    rows: int

    def put(self, rows: Tensor, cut_tensors: Sequence[Tensor]) -> None:
        """Store `cut_tensors` (B, …) in the rows `rows`, int64 (B,) on the CPU."""
        ...

    def get(self, rows: Tensor) -> CutTensors:
        """Return the stored rows with the indices `rows`, in that order."""
        ...

    def close(self) -> None:
        """Release the storage."""
        ...


class MemoryStore:
    """Rows in device or host memory."""

    def __init__(self, name: str, rows: int, like: CutTensors, device: torch.device) -> None:
        self.name, self.rows = name, rows
        self._device = device
        self._kept = [torch.empty((rows, *t.shape[1:]), dtype=t.dtype, device=device) for t in like]

    def put(self, rows: Tensor, cut_tensors: Sequence[Tensor]) -> None:
        """Write rows."""
        places = move_to_device(self._device, rows)
        for kept, tensor in zip(self._kept, cut_tensors, strict=True):
            kept[places] = tensor.to(self._device)

    def get(self, rows: Tensor) -> CutTensors:
        """Return the stored rows with the indices `rows`, in that order."""
        places = move_to_device(self._device, rows)
        return tuple(kept.index_select(0, places) for kept in self._kept)

    def close(self) -> None:
        """Release the memory."""
        self._kept = []


class DiskStore:
    """Rows in files, one file per cut tensor. `close` deletes the files."""

    name = "disk"

    def __init__(self, rows: int, like: CutTensors, folder: Path) -> None:
        self.rows = rows
        self._like = [torch.empty((0, *t.shape[1:]), dtype=t.dtype) for t in like]
        self._paths = [folder / f"prefix{i}.cache" for i in range(len(like))] if rows else []
        for path in self._paths:
            with explain_errors(path):
                path.write_bytes(b"")

    def put(self, rows: Tensor, cut_tensors: Sequence[Tensor]) -> None:
        """Write rows. Raises UserError if the disk is full."""
        for path, tensor in zip(self._paths, cut_tensors, strict=True):
            flat = tensor.detach().cpu().contiguous().view(len(rows), -1).view(torch.uint8)
            with explain_errors(path), path.open("r+b") as file:
                for row, data in zip(rows.tolist(), flat.numpy(), strict=True):
                    file.seek(row * flat.shape[1])
                    file.write(data.tobytes())

    def get(self, rows: Tensor) -> CutTensors:
        """Return the stored rows with the indices `rows`, in that order."""
        found = []
        for path, like in zip(self._paths, self._like, strict=True):
            size = like.element_size() * int(torch.tensor(like.shape[1:]).prod())
            with path.open("rb") as file:
                data = b"".join(os.pread(file.fileno(), size, row * size) for row in rows.tolist())
            flat = torch.frombuffer(bytearray(data), dtype=like.dtype)
            found.append(flat.view(len(rows), *like.shape[1:]))
        return tuple(found)

    def close(self) -> None:
        """Delete the files."""
        for path in self._paths:
            path.unlink(missing_ok=True)
