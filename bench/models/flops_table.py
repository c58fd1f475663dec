"""Table of FLOPs per sample of full training, for time estimates before any run was timed.

Counting the FLOPs takes seconds, mostly for importing the model libraries. Only estimates use this
table; every run counts its own FLOPs. A test compares each entry with the count.
"""

from __future__ import annotations

# (model, classes, image side or text length): exact FLOPs of forward and backward per sample.
FULL_FLOPS: dict[tuple[str, int, int], float] = {
    ("laptop_resnet", 10, 24): 9_604_608.0,
    ("laptop_resnet", 26, 24): 9_653_760.0,
    ("laptop_resnet", 37, 24): 9_687_552.0,
    ("laptop_resnet", 100, 24): 9_881_088.0,
    ("laptop_resnet", 126, 24): 9_960_960.0,
    ("laptop_vgg11", 10, 24): 30_838_272.0,
    ("laptop_vgg11", 26, 24): 30_850_560.0,
    ("laptop_vgg11", 37, 24): 30_859_008.0,
    ("laptop_vgg11", 100, 24): 30_907_392.0,
    ("laptop_vgg11", 126, 24): 30_927_360.0,
    ("laptop_mobilenet_v2", 10, 24): 7_666_176.0,
    ("laptop_mobilenet_v2", 26, 24): 7_789_056.0,
    ("laptop_mobilenet_v2", 37, 24): 7_873_536.0,
    ("laptop_mobilenet_v2", 100, 24): 8_357_376.0,
    ("laptop_mobilenet_v2", 126, 24): 8_557_056.0,
    ("laptop_deit", 10, 24): 18_254_016.0,
    ("laptop_deit", 26, 24): 18_258_624.0,
    ("laptop_deit", 37, 24): 18_261_792.0,
    ("laptop_deit", 100, 24): 18_279_936.0,
    ("laptop_deit", 126, 24): 18_287_424.0,
    ("resnet50", 10, 224): 24_286_912_512.0,
    ("resnet50", 100, 224): 24_288_018_432.0,
    ("resnet50", 1000, 224): 24_299_077_632.0,
    ("deit_tiny_patch16_224", 1000, 224): 7_464_296_448.0,
    ("vgg11", 10, 224): 45_456_801_792.0,
    ("vgg11", 100, 224): 45_459_013_632.0,
    ("mobilenet_v2", 10, 224): 1_775_366_400.0,
    ("mobilenet_v2", 100, 224): 1_776_057_600.0,
    ("deit_tiny_patch16_224", 10, 224): 7_463_155_968.0,
    ("deit_tiny_patch16_224", 100, 224): 7_463_259_648.0,
    ("laptop_bert", 2, 24): 30_106_368.0,
    ("laptop_bert", 2, 32): 40_919_808.0,
    ("laptop_bert_mlm", 0, 32): 43_905_024.0,
    ("bert-base-uncased", 2, 24): 12_297_839_616.0,
    ("bert-base-uncased", 2, 72): 37_268_628_480.0,
}
