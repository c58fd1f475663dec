"""Random streams that depend on named parts alone, so that nothing shares a stream by accident."""

from __future__ import annotations

import hashlib

import torch


def seed_of(*parts: object) -> int:
    """A 63-bit seed from any parts with a stable text, the same on every machine."""
    text = "/".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def seeded(*parts: object) -> torch.Generator:
    """A CPU generator seeded with `seed_of(*parts)`."""
    generator = torch.Generator()
    generator.manual_seed(seed_of(*parts))
    return generator
