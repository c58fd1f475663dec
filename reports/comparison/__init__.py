"""Comparison of methods with full training, with each other and with the paper."""
