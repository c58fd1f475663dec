"""Models that are timed: the paper's models, and a small model.

The small model has the shortest step, so the relative overhead of the harness is largest there.
"""

PAPER = ("resnet50", "vgg11", "mobilenet_v2", "deit_tiny_patch16_224")
SMALLEST = "laptop_mobilenet_v2"  # fewest FLOPs per step in the laptop profile
SUBJECTS = (*PAPER, SMALLEST)
