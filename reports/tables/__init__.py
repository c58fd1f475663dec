"""Reports of Tables 1 to 9 of the paper and of users' sweeps, one file per table."""
