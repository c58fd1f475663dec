"""Layers of a model: discovery, freezing and recorded outputs."""
