"""Results version and revisions: code changes that alter results, and therefore ids of runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

# Increase this number if a code change alters the results of many runs. If it alters those of a
# few, add an entry to REVISIONS instead. In both cases, add a line to CHANGELOG.md.
RESULTS_VERSION = 4

# Strategies that evaluate a probe, and data sets of texts, whose probes are padded. A revision
# concerns runs that existed before it, so names that are added later are not listed here.
PROBING = ("auto_rgn", "cka_oracle", "egeria", "greentrainer", "record", "simfreeze")
# Strategies that compare the outputs of layers.
COMPARING = ("cka_oracle", "egeria", "record", "simfreeze")
TEXTS = ("grammar", "mrpc", "cola", "texts", "datasets")  # before any colon

# timm's models that store the biases of attention in eval mode.
STORED_BIASES = ("levit", "tiny_vit", "efficientformer", "efficientvit_m")

# timm's models in which a small network computes the biases of relative positions.
RELATIVE_POSITIONS = (
    "swinv2_cr",
    "vit_relpos",
    "vit_srelpos",
    "coatnet_rmlp",
    "maxvit_rmlp",
    "maxxvit_rmlp",
    "maxxvitv2_rmlp",
)

# torchvision's models in which several layers share one stochastic depth.
SHARED_DROPOUT = ("maxvit_t", *(f"swin_{size}" for size in ("t", "s", "b", "v2_t", "v2_s", "v2_b")))

# Code changes that affect the results of some runs only: a name, and the function that selects
# the specs of these runs. The ids of all other runs stay unchanged. A new results version empties
# this mapping. With two processes, the order in which gradients are added cannot change their sum.
REVISIONS: Mapping[str, Callable[[Any], bool]] = {
    "gradients by DistributedDataParallel": lambda spec: spec.replicas > 2,
    "layer rates fall after the warm-up": lambda spec: (
        spec.warmup > 0 and spec.strategy in ("auto_rgn", "linear")
    ),
    "the head owns a weight that it shares": lambda spec: (
        spec.model == "laptop_bert_mlm" and spec.strategy != "full"
    ),
    "layers of zeros count as moving": lambda spec: (
        spec.strategy == "slimfit" and spec.model.startswith("lora:")
    ),
    "greentrainer keeps the optimizer state of frozen layers": lambda spec: (
        spec.strategy == "greentrainer"
    ),
    "a step that does not move a layer says nothing about it": lambda spec: (
        spec.strategy == "slimfit"
    ),
    "the FLOPs of a probe of texts are those of its own length": lambda spec: (
        spec.strategy in PROBING and spec.data.partition(":")[0] in TEXTS
    ),
    "each layer has its own sample dimension": lambda spec: (
        spec.strategy in COMPARING
        and (
            spec.model.startswith("hf:")
            or spec.model.removeprefix("timm:").startswith(RELATIVE_POSITIONS)
        )
    ),
    "a thawed layer computes its attention biases again": lambda spec: (
        spec.strategy != "full" and spec.model.removeprefix("timm:").startswith(STORED_BIASES)
    ),
    "shared dropout and unused parts stay with layers that train": lambda spec: (
        spec.strategy != "full" and (spec.model.startswith("hf:") or spec.model in SHARED_DROPOUT)
    ),
}
