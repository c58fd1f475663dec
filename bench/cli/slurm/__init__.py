"""Commands that talk to Slurm."""
