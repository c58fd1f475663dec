"""Freezing in a training loop that the user has written."""
