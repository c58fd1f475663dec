"""FLOPs, memory and time of a training step and of a run."""
