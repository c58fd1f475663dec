"""Strategies that decide from gradients."""
