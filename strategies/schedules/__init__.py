"""Strategies that follow a schedule fixed before training."""
