"""Synthetic runs for the tests of the HTML page."""

from __future__ import annotations

from tests.support.synthetic_results import list_runs

MODELS, DATASETS = ("resnet50", "vgg11"), ("cifar10", "cifar100")
RUNS = list_runs(MODELS, DATASETS, ["full", "linear", "autofreeze", "smartfrz"])
GONE = RUNS[7]  # run of linear freezing without a result
