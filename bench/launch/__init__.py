"""Launching of many runs, on this machine and on Slurm."""
