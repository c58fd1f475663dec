"""Benchmarks of the harness overhead and of the time that freezing saves, as ratios."""
