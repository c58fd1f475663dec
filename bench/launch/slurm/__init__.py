"""Runs on a Slurm cluster: cluster file, code snapshot, submission, jobs and their records."""
