"""Strategies that compare what layers put out with a reference model."""
