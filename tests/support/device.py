"""Device that tests run on: the value of FREEZEBENCH_TEST_DEVICE, by default the CPU."""

from __future__ import annotations

import os

import torch

DEVICE = torch.device(os.environ.get("FREEZEBENCH_TEST_DEVICE", "cpu"))
