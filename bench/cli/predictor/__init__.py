"""Actions of `freezebench predictor`, one file each.

Each of these files defines the names that the file of a command defines (see bench.cli).
"""
