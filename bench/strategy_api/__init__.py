"""Interface between a run and its strategy: inputs, return values and their checks."""
