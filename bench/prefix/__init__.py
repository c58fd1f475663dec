"""Running the frozen prefix once per sample, or with BatchNorm folded."""
