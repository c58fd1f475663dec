"""Reports on Figures 3, 4 and 5 of the paper."""
