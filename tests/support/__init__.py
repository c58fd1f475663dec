"""Parts that tests share: tiny runs, small models, made-up results and a Slurm on this machine."""
