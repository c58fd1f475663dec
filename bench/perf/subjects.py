"""Whose time is measured: the paper's models, and the smallest, where the harness shows most."""

PAPER = ("resnet50", "vgg11", "mobilenet_v2", "deit_tiny_patch16_224")
SMALLEST = "laptop_mobilenet_v2"  # of the laptop profile, in FLOPs a step
SUBJECTS = (*PAPER, SMALLEST)
