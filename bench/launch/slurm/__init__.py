"""Runs on a Slurm cluster: what is sent, what runs in a job, what is known of it."""
