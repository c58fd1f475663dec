"""Claims of the paper, each compared with the runs by a fixed rule that the report prints."""
