"""Reports of the paper's Figures 3, 4 and 5."""
