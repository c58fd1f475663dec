"""Models that are timed: the paper's models, and a small model.

The overhead of the harness is largest relative to the step of the small model.
"""

PAPER = ("resnet50", "vgg11", "mobilenet_v2", "deit_tiny_patch16_224")
SMALLEST = "laptop_mobilenet_v2"  # fewest FLOPs per step in the laptop profile
SUBJECTS = (*PAPER, SMALLEST)
