"""Tests of the facts about the machine that each run records."""

from __future__ import annotations

import torch

from bench.machine.environment import get_device_name


def test_the_name_of_a_cpu_ends_with_its_vector_instructions() -> None:
    name = get_device_name(torch.device("cpu"))
    product, _, instructions = name.rpartition(" (")
    assert product
    assert instructions == f"{torch.backends.cpu.get_cpu_capability()})"
