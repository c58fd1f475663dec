"""Definition, measurement and launching of runs."""
