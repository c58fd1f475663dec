"""Random streams that depend on named parts alone, so that nothing shares a stream by accident."""

from __future__ import annotations

import hashlib

import torch


def derive_seed(*parts: object) -> int:
    """A 63-bit seed from any parts with a stable text, the same on every machine."""
    text = "/".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def make_generator(*parts: object) -> torch.Generator:
    """A CPU generator seeded with `derive_seed(*parts)`."""
    generator = torch.Generator()
    generator.manual_seed(derive_seed(*parts))
    return generator


def seed_device(device: torch.device, *parts: object) -> None:
    """Seed what operators on a device draw from with `derive_seed(*parts)`.

    `torch.manual_seed` seeds every kind of device that there could be, and notes down a stack trace
    for each that there is not: half a millisecond, where a step may take ten.
    """
    seed = derive_seed(*parts)
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed_all(seed)
