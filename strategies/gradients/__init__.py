"""Strategies that decide from gradients of the training loss."""
