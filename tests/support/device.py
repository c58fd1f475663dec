"""Device on which the laws are tested: the CPU, or the one that FREEZEBENCH_TEST_DEVICE names."""

from __future__ import annotations

import os

import torch

DEVICE = torch.device(os.environ.get("FREEZEBENCH_TEST_DEVICE", "cpu"))
