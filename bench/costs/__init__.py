"""FLOPs, bytes and seconds of a step and of a run."""
