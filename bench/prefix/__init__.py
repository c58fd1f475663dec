"""Faster forward passes through a frozen prefix: cached outputs and folded BatchNorm."""
