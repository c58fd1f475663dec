"""Strategies that compare the outputs of layers with those of a reference model."""
