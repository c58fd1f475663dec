"""Strategies that train a few blocks at a time, in random order."""
