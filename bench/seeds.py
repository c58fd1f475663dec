"""Random streams derived from named parts, so that no two uses share a stream by accident."""

from __future__ import annotations

import hashlib

import torch


def derive_seed(*parts: object) -> int:
    """Return a 63-bit seed derived from the text of the parts, the same on every machine."""
    text = "/".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def make_generator(*parts: object) -> torch.Generator:
    """Return a CPU generator seeded with `derive_seed(*parts)`."""
    generator = torch.Generator()
    generator.manual_seed(derive_seed(*parts))
    return generator


def seed_device(device: torch.device, *parts: object) -> None:
    """Seed the default generators of the CPU and of `device` with `derive_seed(*parts)`.

    This function does not call `torch.manual_seed`, which also seeds backends that are not
    present. For each of them, `torch.manual_seed` captures a stack trace. The stack traces cost
    0.5 ms per step, and a step may take only 10 ms.
    """
    seed = derive_seed(*parts)
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed_all(seed)
