"""How the whole suite runs."""

import os

import torch
from hypothesis import HealthCheck, settings

# A shared machine may stall at any moment: what counts is what a law says, not how long it takes.
settings.register_profile("laws", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("laws")
torch.set_num_threads(1)

# They need a cluster (`make slurm-test`) and a browser (`make page-test`).
NEEDS = {"slurm": "FREEZEBENCH_SLURM", "page": "FREEZEBENCH_BROWSER"}
collect_ignore = [folder for folder, name in NEEDS.items() if name not in os.environ]
