"""Strategies that decide from the movement of the weights."""
