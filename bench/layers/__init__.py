"""Layers of a model: finding, freezing and observing them."""
