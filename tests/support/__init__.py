"""Helpers shared by tests: tiny runs, small models, synthetic results and a local Slurm."""
