"""Freezing in a training loop that is not the harness's own."""
