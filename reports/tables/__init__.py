"""Reports of Tables 1 to 9 of the paper, and of a user's own sweep: one file a table."""
